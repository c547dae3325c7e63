"""How well a model predicts the noise in a picture: `python -m benchmarks.denoising [FILE ...]`.

On 96 held-out renders noised to a timestep: the squared error of the noise (L_simple), that of the
predicted image's mean in each channel, black to white being 4, the part of the latter that all
pictures share, a cast; and which share of a change of the noise's amplitude the prediction follows.
"""

import argparse
from pathlib import Path

import torch

from ilvr import load
from ilvr.checkpoint import BUNDLED
from tooling.pictures import BATCH, pictures

TIMESTEPS = [1000, 950, 900, 800, 700, 500, 300, 200, 100]
COUNT = 96
CHANGE = 0.05  # of the amplitude


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "model", nargs="*", type=Path, default=[BUNDLED["landscapes-64"]], help="[the bundled one]"
    )
    clean = pictures(0, COUNT)
    eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for file in parser.parse_args().model:
        model = load(file)
        print(f"\n{file.stem}\n\n| timestep | noise | mean colour | shared by all | followed |")
        print("|---|---|---|---|---|")
        for t in TIMESTEPS:
            level = model.schedule.levels[t - 1]
            predicted = prediction(model, level, clean, eps)
            change = prediction(model, level, clean, (1 + CHANGE) * eps) - predicted
            colour = level.noise / level.signal * (eps - predicted).mean((2, 3))
            means = (
                (predicted - eps).square().mean(),
                colour.square().mean(),
                colour.mean(0).square().mean(),
                (change * eps).mean() / (CHANGE * eps.square().mean()),
            )
            print(f"| {t} | {' | '.join(f'{mean:.5f}' for mean in means)} |", flush=True)


def prediction(model, level, clean, eps):
    """Of the noise in pictures (B, C, H, W)."""
    denoise = model.denoiser()
    noisy = level.noised(clean, eps)
    return torch.cat([denoise(x, level.t)[:, :3] for x in noisy.split(BATCH)])


if __name__ == "__main__":
    main()
