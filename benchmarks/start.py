"""Where to start and how many steps: `python -m benchmarks.start`.

landscapes-64, in the type that the command line takes, on held-out renders, each used once, the
same for every row. Agreement and the Frechet distance are those of quality.py. Detail is the
standard deviation of what the low-pass filter takes away, as a share of that of 20 steps from
noise; "two seeds" is the correlation of it between two seeds of a reference. What is measured is
kept in benchmarks/start.json, and pictures in output/start/, so that a stopped run goes on; rows
that are there with as many references are not measured again. A row is SAMPLER-START-STEPS-N.
"""

import argparse
import itertools
import json
from functools import partial
from pathlib import Path

import torch

from ilvr import LowPassFilter, NoisedReference, Refinement, load, sample
from ilvr.checkpoint import BUNDLED
from ilvr.disk import whole
from ilvr.evaluation.plan import digest
from ilvr.settings import fastest_dtype
from tooling.frechet import distance, features
from tooling.pictures import generated, pictures, psnr

KEPT = Path(__file__).with_suffix(".json")
OUT = Path("output/start")
PAIRS = 16  # references of which a second seed is drawn
OTHER_SEED = 100_000
ROWS = [
    "-".join(map(str, row))
    for row in itertools.product(
        ("dpmpp_2m", "ddim"), ("reference", "noise"), (4, 6, 8, 12, 20), (4, 8, 16, 32)
    )
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=256, help="references [256]")
    parser.add_argument("--rows", nargs="*", default=ROWS, help="such as dpmpp_2m-reference-6-8")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    real = features(pictures(10_000, 2000))
    for row in options.rows:
        if kept.get(row, {}).get("references", 0) < options.count:
            kept[row] = measured(row, options.count, real)
            with whole(KEPT) as file:
                file.write_text(json.dumps(kept, indent=1) + "\n")
    own = distance(features(pictures(0, options.count)), real)
    print(f"{options.count} references; renders: {own:.3f}\n\n{table(kept)}")


def measured(row, count, real):
    references, factor = pictures(0, count), float(row.split("-")[-1])
    images = made(row, references, 0)
    pairs = references[:PAIRS]
    details = [detail(x, factor).flatten() for x in (images[:PAIRS], made(row, pairs, OTHER_SEED))]
    return {
        "references": count,
        "distance": round(distance(features(images), real), 3),
        "agreement": round(psnr(images, references, factor)),
        "detail": round(detail(images, factor).std().item(), 4),
        "two seeds": round(torch.corrcoef(torch.stack(details))[0, 1].item(), 3),
    }


def made(row, references, seed):
    folder = OUT / digest([BUNDLED["landscapes-64"]]) / f"{row}-{seed}"
    return generated(folder, references, partial(sampled, row, seed))[0]


def sampled(row, other, y, seed):
    """One picture after the other, so that each starts at its own level."""
    sampler, start, steps, factor = row.split("-")
    pictures = []
    for i in range(len(y)):
        refinement = Refinement(NoisedReference(y[i : i + 1]), LowPassFilter(float(factor)))
        settings = {"sampler": sampler, "start": start, "steps": int(steps)}
        pictures.append(sample(MODEL, [other + seed + i], refinement, **settings))
    return torch.cat(pictures)


def detail(x, factor):
    return x - LowPassFilter(factor)(x)


def place(row):
    """Of a row in the table."""
    sampler, start, steps, factor = row.split("-")
    return sampler, start, int(steps), float(factor)


def table(kept):
    lines = [
        "| sampler | start | steps | N | distance | detail | two seeds | agreement, dB | of |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, found in sorted(kept.items(), key=lambda item: place(item[0])):
        whole_run = kept.get(f"dpmpp_2m-noise-20-{row.split('-')[-1]}")
        share = f"{found['detail'] / whole_run['detail']:.2f}" if whole_run else ""
        pair = found.get("two seeds", "")
        cells = [*row.split("-"), found["distance"], share, pair, found["agreement"]]
        lines.append(f"| {' | '.join(map(str, cells))} | {found['references']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    MODEL = load("landscapes-64", dtype=getattr(torch, fastest_dtype("cpu")))
    main()
