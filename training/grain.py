"""How much fine detail pictures have: Laplacian levels of brightness and of two colour differences,
and their energies in decades."""

import torch
import torch.nn.functional as F

FLOOR = 1e-5  # energy of a difference of about one grey level in 255


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


def laplacian(x, levels):
    """What each halving of the resolution loses, the finest first."""
    parts = []
    for _ in range(levels):
        half = F.avg_pool2d(x, 2)
        parts.append(x - F.interpolate(half, size=x.shape[-2:], mode="bilinear"))
        x = half
    return parts


def energy(part):
    return torch.log10(part.square().mean((2, 3)) + FLOOR)
