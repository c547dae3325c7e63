"""How much fine detail pictures have, and how to give them more: Laplacian levels of brightness and
of two colour differences, and their energies in decades."""

import torch
import torch.nn.functional as F

FLOOR = 1e-5  # energy of a difference of about one grey level in 255
ROUNDS = 7  # in which the gains settle


def grain(x):
    """(B, 3, H, W) in [-1, 1] -> (B, 16): log10 energy of four levels of brightness in three
    horizontal bands (12), and of the two finest levels of the two colour differences (4)."""
    x = opponents(x)
    brightness = [
        energy(part) for level in laplacian(x[:, :1], 4) for part in level.chunk(3, dim=2)
    ]
    return torch.cat(brightness + [energy(level) for level in laplacian(x[:, 1:], 2)], dim=1)


def opponents(x):
    """Brightness, R - G and B - G of (B, 3, H, W)."""
    return torch.stack([x.mean(1), x[:, 0] - x[:, 1], x[:, 2] - x[:, 1]], 1)


def laplacian(x, count):
    """What each halving of the resolution loses, the finest first."""
    parts = []
    for _ in range(count):
        half = F.avg_pool2d(x, 2)
        parts.append(x - F.interpolate(half, size=x.shape[-2:], mode="bilinear"))
        x = half
    return parts


def energy(part):
    return torch.log10(part.square().mean((2, 3)) + FLOOR)


def levels(x):
    """Three Laplacian levels, the finest first, of brightness and of both colour differences."""
    return laplacian(opponents(x), 3)


def gains(pictures, wanted):
    """By what the detail of (B, 3, H, W) has to be multiplied, less 1, for the energies `wanted`
    (16,) in the mean: (levels, colours), all bands alike."""
    gain = torch.zeros(3, 3)
    for _ in range(ROUNDS):
        lacking = grain(amplified(pictures, gain).clamp(-1, 1)).mean(0) - wanted
        apart = torch.zeros(3, 3)
        apart[:, 0] = lacking[:9].view(3, 3).mean(1)  # of brightness, in three bands
        apart[:2, 1:] = lacking[12:].view(2, 2)
        apart[2, 1:] = apart[1, 1:] / 2  # which is not measured
        gain = ((1 + gain) * 10 ** (-apart / 2) - 1).clamp(-0.2, 0.6)
    return gain


def amplified(x, gain):
    """(B, 3, H, W) with each level of each colour (levels, colours) larger by the share `gain`."""
    detail = 0
    for i, (level, by) in enumerate(zip(levels(x), gain, strict=True)):
        level = level * by[:, None, None]
        for _ in range(i):
            level = F.interpolate(level, scale_factor=2, mode="bilinear")
        detail = detail + level
    brightness, first, second = detail.unbind(1)
    green = brightness - (first + second) / 3
    return x + torch.stack([green + first, green, green + second], 1)
