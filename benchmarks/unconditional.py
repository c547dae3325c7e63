"""The bundled model alone, with no reference: `python -m benchmarks.unconditional`.

The Frechet distance (28 features, see tooling/frechet.py) of samples to as many held-out renders,
beside that of other renders to them, and their variety: the standard deviations of the features as
a share of the renders', in the mean. What is finished is kept in output/unconditional/, so that a
stopped run goes on. The sheet of a sampler shows its first 32 pictures.
"""

import argparse
from itertools import product
from pathlib import Path

import torch

from ilvr import contact_sheet, load, sample, to_images
from ilvr.checkpoint import BUNDLED
from ilvr.evaluation.plan import digest
from tooling.frechet import distance, features
from tooling.pictures import generated, pictures

STEPS = {"dpmpp_2m": 20, "ddpm": 100}
SHOWN, ROW = 32, 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=Path, nargs="+", default=[BUNDLED["landscapes-64"]], help="checkpoints"
    )
    parser.add_argument("--count", type=int, default=1000, help="samples [1000]")
    parser.add_argument("--sampler", nargs="+", default=list(STEPS), choices=STEPS)
    parser.add_argument("--out", type=Path, default=Path("output/unconditional"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    real, others = (features(pictures(start, options.count)) for start in (10_000, 20_000))
    print(f"{options.count} of each; renders: {distance(others, real):.3f}", flush=True)
    for model, sampler in product(options.model, options.sampler):
        name = f"{model.stem}-{sampler}"
        kept = options.out / digest([model]) / sampler
        images = samples(load(model), sampler, options.count, kept)
        found = features(images)
        variety = (found.std(0) / real.std(0)).mean()
        print(f"{name}, {STEPS[sampler]} steps: {distance(found, real):.3f}, variety {variety:.2f}")
        shown = to_images(images[:SHOWN])
        rows = [shown[i : i + ROW] for i in range(0, len(shown), ROW)]
        contact_sheet(rows).save(options.out / f"{name}.png")


def samples(model, sampler, count, folder):
    """(count, 3, H, W) in [-1, 1], from seeds 0 to count - 1."""

    def make(batch, seed):
        return sample(model, range(seed, seed + len(batch)), sampler=sampler, steps=STEPS[sampler])

    images, _ = generated(folder, torch.empty(count), make)
    return images


if __name__ == "__main__":
    main()
