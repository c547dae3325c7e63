"""How well a model predicts the noise in a picture: `python -m benchmarks.denoising [FILE ...]`.

On 96 held-out renders noised to a timestep: the squared error of the noise (L_simple), that of the
predicted image's mean in each channel, black to white being 4, and the part of the latter that all
pictures share, a cast.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.quality import BATCH, pictures
from ilvr import load
from ilvr.checkpoint import BUNDLED

TIMESTEPS = [1000, 950, 900, 800, 700, 500, 300, 100, 20]
COUNT = 96


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="*", type=Path, default=[BUNDLED], help="[the bundled one]")
    clean = pictures(0, COUNT)
    eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for file in parser.parse_args().model:
        model = load(file)
        print(f"\n{file.stem}\n\n| timestep | noise | mean colour | shared by all |")
        print("|---|---|---|---|")
        for t in TIMESTEPS:
            noise, colour = errors(model, model.schedule.levels[t - 1], clean, eps)
            shared = colour.mean(0).square().mean()
            means = noise.square().mean(), colour.square().mean(), shared
            print(f"| {t} | {' | '.join(f'{mean:.5f}' for mean in means)} |", flush=True)


def errors(model, level, clean, eps):
    """Of the noise (B, C, H, W), and of the predicted image's mean over its pixels (B, C)."""
    noisy = level.noised(clean, eps)
    denoise = model.denoiser()
    predicted = torch.cat([denoise(x, level.t)[:, :3] for x in noisy.split(BATCH)])
    colour = ((noisy - level.noise * predicted) / level.signal - clean).mean((2, 3))
    return predicted - eps, colour


if __name__ == "__main__":
    main()
