"""The tables of the paper, from the units' results alone, read in one fixed order.

Memory does not grow with the number of pictures: features are summed up as they are read.
"""

import csv
import io
import json
import math
from collections.abc import Iterator

import numpy as np
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from .folder import Folder
from .metrics import DIMENSIONS, columns, measured
from .plan import Setting, Task

REPLICATES = 100  # of the bootstrap
CHUNK = 64  # units whose features are added up at once


def write(task: Task, folder: Folder) -> list[dict]:
    """Writes results.json, .csv and .md, the same bytes however often the work was interrupted,
    and times.json; gives the rows, one a setting."""
    rows = [_row(task, folder, setting) for setting in task.settings if setting.kind != "real"]
    if "fid" in task.metrics:
        name = next(column.name for column in columns(task) if column.metric == "fid")
        for row, (distance, margin) in zip(rows, _distances(task, folder)):
            row[name] = distance
            if margin is not None:
                row[f"{name} +-"] = margin
    folder.save("results.csv", _csv(rows))
    folder.save("results.md", markdown(task, rows))
    content = {"measured": measured(task), "settings": task.fingerprint, "rows": rows}
    folder.save(
        "results.json", json.dumps(_finite(content), indent=1, default=str, allow_nan=False) + "\n"
    )
    times = [_time(task, folder, setting) for setting in task.settings if _sampled(setting)]
    folder.save("times.json", json.dumps(times, indent=1) + "\n")
    return rows


def _row(task, folder, setting):
    """The counts of a setting, and the means of what was measured."""
    span = setting.range
    row = {"setting": setting.title, "factor": setting.factor}
    row |= {"start": span.start if span else None, "end": span.end if span else None}
    row |= {"images": 0, "skipped": 0}
    means = [column for column in columns(task) if column.metric != "fid"]
    totals: dict[str, list] = {}
    for unit in task.units_of(setting):
        arrays = folder.read(unit)
        row["images"] += len(arrays["reference"])
        row["skipped"] += len(arrays["skipped"])
        for name in [*(column.key for column in means), "evaluations"]:
            if name in arrays:
                total = totals.setdefault(name, [0.0, 0])
                total[0] += float(arrays[name].sum())
                total[1] += arrays[name].size
    if not row["images"]:
        raise ValueError(f"None of the {row['skipped']} references could be read.")
    for column in means:
        total, count = totals.get(column.key, (0.0, 0))
        if count:
            row[column.name] = total / count
    if "evaluations" in totals:
        row["evaluations per image"] = totals["evaluations"][0] / row["images"]
    return row


def _sampled(setting):
    return setting.kind in ("guided", "unconditional")


def _time(task, folder, setting):
    images, seconds, evaluations = 0, 0.0, 0
    for unit in task.units_of(setting):
        arrays = folder.read(unit)
        images += len(arrays["reference"])
        seconds += float(arrays["seconds"])
        evaluations += int(arrays["evaluations"])
    return {
        "setting": setting.name,
        "images": images,
        "seconds per image": seconds / images,
        "seconds per evaluation": seconds / evaluations,
    }


def _distances(task, folder):
    """(Frechet distance, its margin or None) of every setting but the real pictures."""
    project, dimensions = _projection(task, folder)
    real = Setting("real")
    metric = gaussians(dimensions)
    for features, _ in _features(task, folder, real):
        metric.update(project(features), real=True)
    margins = _margins(task, folder, project, dimensions)
    for setting in task.settings:
        if setting != real:
            for features, _ in _features(task, folder, setting):
                metric.update(project(features), real=False)
            yield _computed(metric, setting), margins.get(setting)
            metric.reset()


def gaussians(dimensions):
    """torchmetrics' own sums and distance, on features that are there already."""
    features = torch.nn.Identity()
    features.num_features = dimensions
    return FrechetInceptionDistance(feature=features, reset_real_features=False)


def _counts(metric):
    """How many pictures the smaller of the two sets has."""
    return min(int(metric.real_features_num_samples), int(metric.fake_features_num_samples))


def _computed(metric, setting):
    if _counts(metric) < 2:
        raise ValueError(
            f"fid needs 2 pictures or more of {setting.title} and of the real ones; give more "
            f"references, or leave fid out of --metrics."
        )
    return float(metric.compute())


def _features(task, folder, setting) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """((n, D) fp64, the references (n,) they belong to), many units at once."""
    units = task.units_of(setting)
    for i in range(0, len(units), CHUNK):
        results = [folder.read(unit) for unit in units[i : i + CHUNK]]
        features = np.concatenate([arrays["fid"] for arrays in results])
        yield (
            torch.from_numpy(features).double(),
            np.concatenate([arrays["reference"] for arrays in results]),
        )


def _projection(task, folder):
    """(function, dimensions): of the encoder's features those in which the real pictures vary
    most, each divided by its deviation there; Inception's are left as they are."""
    total, square, count = 0.0, 0.0, 0
    for features, _ in _features(task, folder, Setting("real")):
        if task.options.features == "inception":
            return (lambda x: x), features.shape[1]
        total, square = total + features.sum(0), square + features.T @ features
        count += len(features)
    if count < 2:
        return (lambda x: x), features.shape[1]  # too few, as is said later
    mean = total / count
    variances, axes = torch.linalg.eigh((square - count * torch.outer(mean, mean)) / (count - 1))
    used = variances[-DIMENSIONS:] > 1e-9 * variances[-1]
    axes = (axes[:, -DIMENSIONS:] / variances[-DIMENSIONS:].clamp(min=0).sqrt())[:, used]
    return (lambda x: (x - mean) @ axes), axes.shape[1]


def _margins(task, folder, project, dimensions):
    """{setting: half of the 95 % confidence interval}, by a bootstrap over references: each counts
    a Poisson(1) number of times, so that one reading is enough. Real pictures are resampled too.
    """
    if task.options.features == "inception":
        return {}  # a replicate would hold sums of 2048 x 2048
    replicates = [gaussians(dimensions) for _ in range(REPLICATES)]
    _resample(task, folder, Setting("real"), project, replicates)
    margins = {}
    for setting in task.settings:
        if setting.kind != "real":
            _resample(task, folder, setting, project, replicates)
            drawn = [metric for metric in replicates if _counts(metric) >= 2]
            distances = [_computed(metric, setting) for metric in drawn]
            margins[setting] = 1.96 * float(np.std(distances, ddof=1)) if len(drawn) > 1 else 0.0
            for metric in replicates:
                metric.reset()
    return margins


def _resample(task, folder, setting, project, replicates):
    """Adds a setting's features to every replicate; a reference counts as often in all of them
    that are made of it."""
    real = setting.kind == "real"
    source = int(real and task.options.real is not None)
    draws = [np.random.default_rng([source, i]) for i in range(len(replicates))]
    seen = 0
    for features, references in _features(task, folder, setting):
        features, last = project(features), int(references.max(initial=seen - 1)) + 1
        for metric, draw in zip(replicates, draws):
            times = torch.from_numpy(draw.poisson(1, last - seen)[references - seen])
            metric.update(features.repeat_interleave(times, dim=0), real=real)
        seen = last


def markdown(task: Task, rows: list[dict]) -> str:
    """The paper's tables: a column a factor, a line a range."""
    last, samples = rows[-1], task.options.samples_per_reference
    lines = [
        f"{len(task.references)} references with {samples} samples each, "
        f"{last['evaluations per image']:g} evaluations of the network an image."
    ]
    if last["skipped"]:
        lines.append(f"References that could not be read and are left out: {last['skipped']}.")
    for metric, words in measured(task).items():
        for column in columns(task):
            if column.metric == metric:
                lines += ["", f"### {column.title}", "", *_table(task, rows, column)]
        lines += ["", f"{words}."]
    return "\n".join(lines) + "\n"


def _table(task, rows, column):
    name, digits = column.name, column.digits
    others = [row for row in rows if row["factor"] is None and name in row]
    heads = [row["setting"] for row in others] + [f"N = {n:g}" for n in task.filters]
    yield f"| range | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for i, span in enumerate(task.spans):
        shown = [_cell(row, name, digits) if i == 0 else "" for row in others]
        bounds = (span.start, span.end)
        guided = [row for row in rows if (row["start"], row["end"]) == bounds]
        shown += [_cell(row, name, digits) for row in guided]
        yield f"| {span} | {' | '.join(shown)} |"


def _cell(row, name, digits):
    margin = row.get(f"{name} +-")
    return f"{row[name]:.{digits}f}" + (f" ± {margin:.{digits}f}" if margin else "")


def _csv(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _finite(value):
    """JSON has no infinity, which is the PSNR of equal pictures: it becomes null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if value == math.inf else value
