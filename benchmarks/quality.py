"""Samplers, steps and kinds of noise compared on the bundled model: `python -m benchmarks.quality`.

The references are held-out renders, each used once, the same for every row. Agreement is the PSNR
of the downsampled image against the downsampled reference, in float before clamping. The Frechet
distance (28 features, see frechet.py) is to 2,000 other held-out renders. What is finished is kept
in output/quality/, so that a stopped run goes on.
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.frechet import distance, features
from ilvr import LowPassFilter, NoisedReference, Refinement, load, sample
from ilvr.checkpoint import BUNDLED
from ilvr.evaluation.plan import digest
from training.render import HELD_OUT, render

ROWS = [
    ("dpmpp_2m", 10, "fresh"),
    ("dpmpp_2m", 20, "fresh"),
    ("dpmpp_2m", 20, "fixed"),
    ("dpmpp_2m", 40, "fresh"),
    ("ddim", 20, "fresh"),
    ("ddim", 50, "fresh"),
    ("ddpm", 50, "fresh"),
    ("ddpm", 100, "fresh"),
    ("ddpm", 250, "fresh"),
]
BATCH = 16


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=512, help="images a row [512]")
    parser.add_argument("--factor", type=float, default=8)
    parser.add_argument("--rows", nargs="+", help="such as ddpm-250-fresh [all]")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--out", type=Path, default=Path("output/quality"))
    options = parser.parse_args()
    kept = options.out / digest([BUNDLED])
    model = load(dtype=getattr(torch, options.dtype))
    real = features(pictures(10_000, 2000))
    references = pictures(0, options.count)
    own = distance(features(references), real)
    print(
        f"{options.count} references, N = {options.factor:g}, {options.dtype}; renders: {own:.3f}"
    )
    print("| sampler | steps | noise | agreement, dB | Frechet distance | ms an image |")
    print("|---|---|---|---|---|---|")
    for row in ROWS:
        name = "-".join(map(str, row))
        if not options.rows or name in options.rows:
            path = kept / name / f"{options.factor:g}-{options.dtype}"
            make = partial(sampled, model, row, LowPassFilter(options.factor))
            images, seconds = generated(path, references, make)
            agreement = psnr(images, references, options.factor)
            frechet = distance(features(images), real)
            cells = (*row, f"{agreement:.0f}", f"{frechet:.3f}", f"{1000 * seconds:.0f}")
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


def sampled(model, row, low_pass, y, seed):
    sampler, steps, noise = row
    refinement = Refinement(NoisedReference(y, noise), low_pass)
    return sample(model, range(seed, seed + len(y)), refinement, sampler=sampler, steps=steps)


def pictures(start, count):
    """Held-out renders (count, 3, 64, 64) in [-1, 1]."""
    array = np.stack([render(HELD_OUT + start + i) for i in range(count)])
    return torch.from_numpy(array).permute(0, 3, 1, 2) / 127.5 - 1


def generated(path, references, make):
    """The images that `make(y, first seed)` gives for batches y of the references, and the seconds
    an image took; batches already in the folder `path` are read."""
    path.mkdir(parents=True, exist_ok=True)
    files = [path / f"{i}.pt" for i in range(0, len(references), BATCH)]
    for file, y in zip(tqdm(files, path.name, disable=None, leave=False), references.split(BATCH)):
        if not file.exists():
            start = time.perf_counter()
            images = make(y, int(file.stem))
            torch.save((images, time.perf_counter() - start), file)
    batches = [torch.load(file) for file in files]
    return torch.cat([x for x, _ in batches]), sum(s for _, s in batches) / len(references)


def psnr(images, references, factor):
    """Of the downsampled images, peak to peak 2."""
    down = LowPassFilter(factor).down
    error = (down(images) - down(references)).square().mean().item()
    return 10 * math.log10(4 / error)


if __name__ == "__main__":
    main()
