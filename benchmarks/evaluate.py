"""The paper's tables on landscapes-64: `python -m benchmarks.evaluate` (`make evaluate`).

References and real pictures are held-out renders, no picture in both. Stopped at any moment, it
goes on where it was. Everything is kept in output/evaluate/: a folder for each part, and
results.md with all tables. Hours on two cores; --quick takes few pictures, for a first look.
Further options, such as --sampler ddpm, are handed to `python -m ilvr evaluate`.
"""

import argparse
from pathlib import Path

import matplotlib.figure  # noqa: F401 (what is missing is said before hours of work)
from PIL import Image
from tqdm import tqdm

from benchmarks import alternatives, domains
from ilvr.cli import main as ilvr
from ilvr.disk import whole
from training.render import HELD_OUT, render

REAL = HELD_OUT + 10_000
FACTORS = [2, 4, 8, 16]
UNSEEN = {
    "clip-art": domains.clip_art,
    "pixel-art": domains.pixel_art,
    "scribble": domains.scribble,
}
FULL = {
    "table-1": 1000,
    "table-2": 50,
    "ranges": 20,
    "bicubic": 256,
    "domains": 256,
    "methods": 256,
}
QUICK = {"table-1": 64, "table-2": 6, "ranges": 3, "bicubic": 32, "domains": 24, "methods": 16}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 minutes instead of hours")
    parser.add_argument("--counts", nargs="+", default=[], metavar="PART=COUNT", help=str(FULL))
    parser.add_argument("--out", type=Path, default=Path("output/evaluate"))
    options, further = parser.parse_known_args()  # further ones go to every `ilvr evaluate`
    counts = dict(QUICK if options.quick else FULL)
    counts |= {part: int(count) for part, count in (text.split("=") for text in options.counts)}
    out = options.out / ("quick" if options.quick else "full")
    sections = []
    for title, name, references, arguments in parts(counts, out):
        print(f"\n## {title}", flush=True)
        command = ["evaluate", references, "--out", out / name, *arguments, *further]
        if ilvr(list(map(str, command))):
            raise SystemExit(2)
        sections.append(f"## {title}\n\n{(out / name / 'results.md').read_text()}")
    where = ["--out", str(out / "alternatives"), "--count", str(counts["methods"])]
    sections.append("## ILVR and the alternatives\n\n" + alternatives.main(where))
    (out / "results.md").write_text("\n".join(sections))
    print(f"All tables: {out / 'results.md'}")


def parts(counts, out):
    """(title, name, references, arguments) of each `ilvr evaluate`."""
    drawn = out.parent / "pictures"
    model = ["--model", "landscapes-64", "--features", "model", "--batch-size", 16]
    model += ["--start", "noise"]
    count = counts["table-1"]
    renders = pictures(drawn / f"renders-{count}", count, lambda i: landscape(HELD_OUT + i))
    real = pictures(drawn / f"real-{count}", count, lambda i: landscape(REAL + i))
    once = [*model, "--real", real, "--samples-per-reference", 1, "--metrics", "fid", "agreement"]
    yield "Quality by N", "table-1", renders, [*once, "--factors", *FACTORS, 32]
    many = [*model, "--metrics", "lpips", "--limit"]
    grid = [*many, counts["table-2"], "--factors", 1, *FACTORS, 32]
    yield "Diversity by N", "table-2", renders, grid
    grid = [*many, counts["ranges"], "--factors", 4, 8, "--ranges", 0, 250, 500, 750]
    yield "Diversity by range", "ranges", renders, grid
    agreement = [*model, "--metrics", "agreement", "--samples-per-reference", 1, "--no-exact"]
    limited = [*agreement, "--limit", counts["bicubic"], "--factors", *FACTORS]
    yield "Agreement with the paper's bicubic filter", "bicubic", renders, limited
    for name, draw in UNSEEN.items():
        folder = pictures(drawn / f"{name}-{counts['domains']}", counts["domains"], draw)
        yield f"Unseen domain: {name}", name, folder, [*once, "--factors", *FACTORS]


def landscape(seed):
    return Image.fromarray(render(seed))


def pictures(folder: Path, count: int, draw) -> Path:
    """The folder, with draw(0) to draw(count - 1) in it as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i:05}.png" for i in range(count)]
    for i, file in enumerate(tqdm(files, f"drawing {folder.name}", disable=None, leave=False)):
        if not file.exists():
            with whole(file) as partial:
                draw(i).save(partial, "PNG")
    return folder


if __name__ == "__main__":
    main()
