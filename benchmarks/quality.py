"""Samplers, steps and kinds of noise compared on the bundled model: `python -m benchmarks.quality`.

The references are held-out renders, each used once, the same for every row. Agreement is the PSNR
of the downsampled image against the downsampled reference, in float before clamping. The Frechet
distance (28 features, see tooling/frechet.py) is to 2,000 other held-out renders. What is finished
is kept in output/quality/, so that a stopped run goes on.
"""

import argparse
from functools import partial
from pathlib import Path

import torch

from ilvr import LowPassFilter, NoisedReference, Refinement, load, sample
from ilvr.checkpoint import BUNDLED
from ilvr.evaluation.plan import digest
from tooling.frechet import distance, features
from tooling.pictures import generated, pictures, psnr

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=512, help="images a row [512]")
    parser.add_argument("--factor", type=float, default=8)
    parser.add_argument("--rows", nargs="+", help="such as ddpm-250-fresh [all]")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--out", type=Path, default=Path("output/quality"))
    options = parser.parse_args()
    kept = options.out / digest([BUNDLED["landscapes-64"]])
    model = load("landscapes-64", dtype=getattr(torch, options.dtype))
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


if __name__ == "__main__":
    main()
