"""Luminance and colour in latents: `python -m benchmarks.latent_channels --model CHECKPOINT`.

Held-out renders of 256 x 256 are each given the low frequencies of the next one in latents,
z + P (z_y - z), of all channels, of the luminance or of the colour alone, and decoded. The numbers
are the PSNR of the low frequencies (N in pixels) of what was to be kept against the other picture,
and of what was to stay against the picture's own, luminance and colour each by itself.
"""

import argparse
import math

import torch

from ilvr import LowPassFilter, load
from ilvr.low_pass import CHANNELS
from training.render import HELD_OUT, render


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a latent model's checkpoint, or its name")
    parser.add_argument("--count", type=int, default=12, help="pictures [12]")
    parser.add_argument("--factors", type=float, nargs="+", default=[16, 32, 64])
    options = parser.parse_args()
    model = load(options.model)
    pictures = torch.stack([torch.tensor(render(HELD_OUT + i, 256)) for i in range(options.count)])
    pictures = pictures.permute(0, 3, 1, 2) / 127.5 - 1
    print("| N | kept | luminance, of the other | own | colour, of the other | own |")
    print("|---|---|---|---|---|---|")
    with torch.inference_mode():
        z = model.encode(pictures)
        y, own = z.roll(1, 0), model.decode(z)
        for factor in options.factors:
            low = LowPassFilter(factor)
            row(factor, "the autoencoder alone", own, pictures.roll(1, 0), pictures, low)
            for channels in CHANNELS:
                phi = LowPassFilter(factor, channels=channels)
                phi = phi.on_cells(model.configuration.compression, colours=model.colours())
                x = model.decode(z + phi(y - z))
                row(factor, channels, x, pictures.roll(1, 0), own, low)


def row(factor, name, x, other, own, low):
    cells = []
    for channels in ("luminance", "colour"):
        phi = LowPassFilter(low.factor, channels=channels)
        cells += [decibels(phi(x - other)), decibels(phi(x - own))]
    print(f"| {factor:g} | {name} | " + " | ".join(cells) + " |")


def decibels(error):
    power = error.square().mean().item()
    return f"{10 * math.log10(4 / power):.1f}" if power else ""


if __name__ == "__main__":
    main()
