"""The figure of the tables, and the sheet of the first references."""

import matplotlib.figure

from ..image import contact_sheet, fit, open_image
from .folder import Folder, write_whole
from .metrics import columns
from .plan import SHOWN, Setting, Task


def write(task: Task, folder: Folder, rows: list[dict]) -> None:
    """figure.png: quality and diversity against N, a line a range, and against the end of the
    range, a line a factor."""
    named = {column.key: column.name for column in columns(task)}
    shown = [named[key] for key in ("fid", "niqe", "lpips") if key in named]
    shown = shown or [named["agreement8"]]
    figure = matplotlib.figure.Figure(figsize=(10, 3.4 * len(shown)), layout="constrained")
    for name, (by_factor, by_range) in zip(shown, figure.subplots(len(shown), 2, squeeze=False)):
        guided = [row for row in rows if row["factor"] is not None]
        _lines(by_factor, guided, name, "factor", lambda row: f"{row['start']:g}-{row['end']:g}")
        by_factor.set_xscale("log", base=2)
        by_factor.set_xticks(list(task.filters), [f"{n:g}" for n in task.filters])
        by_factor.set_xlabel("N")
        _lines(by_range, guided, name, "end", lambda row: row["setting"])
        by_range.set_xlabel("end of the range, timestep")
        for row in rows:
            if row["factor"] is None and name in row:
                for axes in (by_factor, by_range):
                    _level(axes, row[name], row["setting"])
    write_whole(folder.path / "figure.png", lambda file: figure.savefig(file, dpi=120))


def _level(axes, value, label):
    axes.axhline(value, color="grey", linestyle="--" if label == "unconditional" else ":")
    axes.annotate(label, (0.02, value), xycoords=("axes fraction", "data"), va="bottom")


def _lines(axes, rows, name, x, label):
    for key in dict.fromkeys(map(label, rows)):
        line = [row for row in rows if label(row) == key]
        margins = [row.get(f"{name} +-", 0) for row in line]
        axes.errorbar(
            [row[x] for row in line], [row[name] for row in line], margins, marker="o", label=key
        )
    axes.set_ylabel(name)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def sheet(task: Task, folder: Folder) -> None:
    """sheet.png: the first references, and a sample of each setting beside them."""
    settings = [s for s in task.settings if s.kind in ("guided", "unconditional")]
    size = task.configuration.picture_size
    rows = []
    for index, path in enumerate(task.references[:SHOWN]):
        name = f"{index:06}-{task.seeds(index)[0] - task.options.seed:07}"
        files = [folder.image(setting, name) for setting in settings]
        if files[-1].exists():  # else the reference could not be read
            rows.append([fit(open_image(file), size) for file in (path, *files)])
    columns = ["reference", *map(_column, settings)]
    if rows:
        image = contact_sheet(rows, columns)
        write_whole(folder.path / "sheet.png", lambda file: image.save(file, "PNG"))


def _column(setting: Setting) -> str:
    if setting.kind == "guided" and setting.range and setting.range.end:
        return f"{setting.title}, to {setting.range.end:g}"
    return setting.title
