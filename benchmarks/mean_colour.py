"""How well a model predicts a picture's mean colour: `python -m benchmarks.mean_colour [FILE]`.

Squared error of the predicted image's mean in each channel, on 96 held-out renders noised to a
timestep, black to white being 4; and the part of it that all pictures share, a cast.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.quality import BATCH, pictures
from ilvr import load
from ilvr.checkpoint import BUNDLED

TIMESTEPS = [1000, 950, 900, 800, 700, 500]
COUNT = 96


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=BUNDLED, help="[the bundled one]")
    model = load(parser.parse_args().model)
    clean = pictures(0, COUNT)
    eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    print("| timestep | error | shared by all |")
    print("|---|---|---|")
    for t in TIMESTEPS:
        error = mean_error(model, model.schedule.levels[t - 1], clean, eps)
        shared = error.mean(0).square().mean().item()
        print(f"| {t} | {error.square().mean().item():.4f} | {shared:.4f} |", flush=True)


def mean_error(model, level, clean, eps):
    """(B, C): of the predicted image's mean over its pixels."""
    noisy = level.noised(clean, eps)
    denoise = model.denoiser()
    predicted = torch.cat([denoise(x, level.t)[:, :3] for x in noisy.split(BATCH)])
    return ((noisy - level.noise * predicted) / level.signal - clean).mean((2, 3))


if __name__ == "__main__":
    main()
