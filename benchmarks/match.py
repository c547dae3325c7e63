"""MatchLowFrequencies beside the wavelet colour fix: `python -m benchmarks.match`.

Held-out renders, each given the low frequencies of the next one at N = 8, 16, 32, saved in 8 bits.
Agreement: PSNR of result and reference, both made smaller by N. Halo: what has changed in the band
above N, the root of the mean square in levels of 255; 0.29 of it is the rounding to 8 bits.

The wavelet fix is written here from its usual description: five times the picture is smoothed by
1/4, 1/2, 1/4 in both directions, the taps 1, 2, 4, 8, 16 pixels apart and the border repeated;
what the five take away is the image's, what is left after them the reference's. It has no N.

mid: references without clipped areas. dark, bright: within 5 % of black, of white. black: black.
"""

import torch
import torch.nn.functional as F

from ilvr import LowPassFilter, NoisedReference, match_low_frequencies
from tooling.pictures import pictures, psnr

COUNT, FACTORS = 32, (8, 16, 32)


def match(x, y, low_pass):
    return match_low_frequencies(x, NoisedReference(y), low_pass)


def wavelet_fix(x, y, low_pass):
    return (x - smoothed(x) + smoothed(y)).clamp(-1, 1)


def smoothed(x):
    row = torch.tensor([0.25, 0.5, 0.25])
    kernel = (row[:, None] * row).expand(3, 1, 3, 3)
    for apart in (1, 2, 4, 8, 16):
        padded = F.pad(x, [apart] * 4, mode="replicate")
        x = F.conv2d(padded, kernel, dilation=apart, groups=3)
    return x


def main():
    renders = pictures(0, COUNT)
    y = renders.roll(1, 0)
    x = 0.5 * renders
    references = {
        "mid": 0.5 * y,
        "dark": 0.05 * y - 0.95,
        "bright": 0.05 * y + 0.95,
        "black": torch.full_like(y, -1),
    }
    print(f"{'':<21}" + "".join(f"{f'N = {n}':>21}" for n in FACTORS))
    for name, reference in references.items():
        for method in (match, wavelet_fix):
            row = [figures(method, x, reference, LowPassFilter(n)) for n in FACTORS]
            cells = "".join(f"{db:>11.1f} dB {halo:>6.2f}" for db, halo in row)
            print(f"{name:<7} {method.__name__:<13}{cells}")


def figures(method, x, y, low_pass):
    made = ((method(x, y, low_pass) + 1) * 127.5).round() / 127.5 - 1
    change = made - x
    halo = (change - low_pass(change)).square().mean().sqrt() * 127.5
    return psnr(made, y, low_pass.factor), halo.item()


if __name__ == "__main__":
    main()
