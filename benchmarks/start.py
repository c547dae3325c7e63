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
RANGED = "agreement", "two seeds"
STARTS, STEPS, FACTORS = ("reference", "noise"), (4, 6, 8, 12, 20), (4, 8, 16, 32)


def main():
    options = parsed(__doc__, ["dpmpp_2m", "ddim"])
    torch.set_num_threads(1)
    measure(options.rows, options.count, made, steps)
    print(tables(options.count))


def parsed(doc, samplers):
    combined = itertools.product(samplers, STARTS, STEPS, FACTORS)
    rows = ["-".join(map(str, row)) for row in combined]
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--count", type=int, default=256, help="references [256]")
    parser.add_argument("--rows", nargs="*", default=rows, help=f"such as {rows[0]}")
    return parser.parse_args()


def measure(rows, count, make, calls):
    """Those that are not kept yet: the images are `make(row, references, seed)`, and
    `calls(row, references)` counts those of the network for each."""
    real = features(pictures(10_000, 2000))
    for row in rows:
        if found().get(row, {}).get("references", 0) < count:
            own = calls(row, pictures(0, count))
            result = {"calls": sorted({min(own), max(own)})} | measured(row, count, real, make)
            with whole(KEPT) as file:  # another process may have added rows of its own
                file.write_text(json.dumps(found() | {row: result}, indent=1) + "\n")


def found():
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def measured(row, count, real, make):
    references, factor = pictures(0, count), float(row.split("-")[-1])
    images = make(row, references, 0)
    pairs = references[:PAIRS]
    details = [detail(x, factor).flatten() for x in (images[:PAIRS], make(row, pairs, OTHER_SEED))]
    return {
        "references": count,
        "distance": round(distance(features(images), real), 3),
        "agreement": round(psnr(images, references, factor)),
        "detail": round(detail(images, factor).std().item(), 4),
        "two seeds": round(torch.corrcoef(torch.stack(details))[0, 1].item(), 3),
    }


def made(row, references, seed):
    return generated(folder(row, seed), references, partial(sampled, row, seed))[0]


def steps(row, references):
    return [int(row.split("-")[2])] * len(references)


def folder(row, seed):
    return OUT / digest([BUNDLED["landscapes-64"]]) / f"{row}-{seed}"


def sampled(row, other, y, seed):
    """From the reference one picture after the other, so that each starts at its own level."""
    sampler, start, steps, factor = row.split("-")
    settings = {"sampler": sampler, "start": start, "steps": int(steps)}
    size = len(y) if start == "noise" else 1
    images = []
    for first, part in zip(range(seed, seed + len(y), size), y.split(size)):
        refinement = Refinement(NoisedReference(part), LowPassFilter(float(factor)))
        seeds = [other + first + i for i in range(len(part))]
        images.append(sample(MODEL, seeds, refinement, **settings))
    return torch.cat(images)


def detail(x, factor):
    return x - LowPassFilter(factor)(x)


def tables(count):
    """Of all rows that are kept with at least so many references, a table for each N, as text."""
    kept = {
        tuple(row.split("-")): result
        for row, result in found().items()
        if result["references"] >= count
    }
    own = distance(features(pictures(0, count)), features(pictures(10_000, 2000)))
    lines = [f"{count} references; renders: {own:.3f}"]
    lines += [f"{name} {extremes(r[name] for r in kept.values())}" for name in RANGED]
    for factor in FACTORS:
        lines += ["", f"| N = {factor} | start |" + "".join(f" {n} steps |" for n in STEPS)]
        lines.append("|---|---|" + "---|" * len(STEPS))
        for sampler, start in sorted({row[:2] for row in kept}):
            rows = [(sampler, start, str(steps), str(factor)) for steps in STEPS]
            cells = [sampler, start, *(cell(row, kept) for row in rows)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(row, kept):
    """Distance, share of the detail and, where some of the steps are left out, the calls."""
    if row not in kept:
        return ""
    result, text = kept[row], f"{kept[row]['distance']:.3f}"
    if whole_run := kept.get(("dpmpp_2m", "noise", "20", row[-1])):
        text += f", {result['detail'] / whole_run['detail']:.2f}"
    return text if result["calls"] == [int(row[2])] else f"{text} ({extremes(result['calls'])})"


def extremes(values):
    low, *_, high = sorted([*values] * 2)
    return f"{low}" if low == high else f"{low} to {high}"


if __name__ == "__main__":
    MODEL = load("landscapes-64", dtype=getattr(torch, fastest_dtype("cpu")))
    main()
