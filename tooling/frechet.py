"""Frechet distance between sets of pictures in 28 features that need no download.

It is no FID: the features are colours and grain, made for 64x64 landscapes. Per image: mean RGB of
three horizontal bands (9), standard deviation of RGB (3), log10 energy of four Laplacian levels of
luminance in three bands (12), and of the two finest levels of the two colour differences (4).
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import sqrtm

FLOOR = 1e-5  # energy of a difference of about one grey level in 255


def features(images):
    """(B, 3, H, W) in [-1, 1] -> (B, 28) fp64."""
    x = images.double().clamp(-1, 1)
    bands = x.chunk(3, dim=2)
    colours = [band.mean((2, 3)) for band in bands] + [x.std((2, 3))]
    luminance = x.mean(1, keepdim=True)
    differences = torch.stack([x[:, 0] - x[:, 1], x[:, 2] - x[:, 1]], 1)
    grain = [
        energy(part) for level in laplacian(luminance, 4) for part in level.chunk(3, dim=2)
    ] + [energy(level) for level in laplacian(differences, 2)]
    return torch.cat(colours + grain, dim=1)


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


def distance(a, b):
    """Between Gaussians fitted to two sets of features (N, 28)."""
    (mean_a, cov_a), (mean_b, cov_b) = ((f.mean(0).numpy(), np.cov(f.numpy().T)) for f in (a, b))
    cross = np.trace(sqrtm(cov_a @ cov_b).real)
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)
