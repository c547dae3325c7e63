"""Samplers, steps and kinds of noise compared on the bundled model: `python -m benchmarks.quality`.

The references are held-out renders, each used once, the same for every row. Agreement is the PSNR
of the downsampled image against the downsampled reference, in float before clamping. The Frechet
distance (28 features, see frechet.py) is to 2,000 other held-out renders. What is finished is kept
in output/quality/, so that a stopped run goes on.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.frechet import distance, features
from ilvr import LowPassFilter, NoisedReference, Refinement, load, sample
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
    options.out.mkdir(parents=True, exist_ok=True)
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
            images, seconds = generated(model, row, references, options, options.out / name)
            agreement = psnr(images, references, options.factor)
            frechet = distance(features(images), real)
            cells = (*row, f"{agreement:.0f}", f"{frechet:.3f}", f"{1000 * seconds:.0f}")
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


def pictures(start, count):
    """Held-out renders (count, 3, 64, 64) in [-1, 1]."""
    array = np.stack([render(HELD_OUT + start + i) for i in range(count)])
    return torch.from_numpy(array).permute(0, 3, 1, 2) / 127.5 - 1


def generated(model, row, references, options, path):
    """All images of a row and the seconds an image took; batches already in `path` are read."""
    sampler, steps, noise = row
    path.mkdir(exist_ok=True)
    for i in tqdm(range(0, len(references), BATCH), desc=path.name, disable=None, leave=False):
        file = path / f"{options.factor:g}-{options.dtype}-{i}.pt"
        if not file.exists():
            y = references[i : i + BATCH]
            refinement = Refinement(NoisedReference(y, noise), LowPassFilter(options.factor))
            start = time.perf_counter()
            x = sample(model, range(i, i + len(y)), refinement, sampler=sampler, steps=steps)
            torch.save((x, time.perf_counter() - start), file)
    files = [
        path / f"{options.factor:g}-{options.dtype}-{i}.pt"
        for i in range(0, len(references), BATCH)
    ]
    batches = [torch.load(file) for file in files]
    return torch.cat([x for x, _ in batches]), sum(s for _, s in batches) / len(references)


def psnr(images, references, factor):
    """Of the downsampled images, peak to peak 2."""
    down = LowPassFilter(factor).down
    error = (down(images) - down(references)).square().mean().item()
    return 10 * math.log10(4 / error)


if __name__ == "__main__":
    main()
