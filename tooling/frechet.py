"""Frechet distance between sets of pictures in 28 features that need no download.

It is no FID: the features are colours and grain, made for 64x64 landscapes. Per image: mean RGB of
three horizontal bands (9), standard deviation of RGB (3), the energies of training/grain.py (16).
"""

import numpy as np
import torch
from scipy.linalg import sqrtm

from training.grain import grain


def features(images):
    """(B, 3, H, W) in [-1, 1] -> (B, 28) fp64."""
    x = images.double().clamp(-1, 1)
    colours = [band.mean((2, 3)) for band in x.chunk(3, dim=2)] + [x.std((2, 3))]
    return torch.cat([*colours, grain(x)], dim=1)


def distance(a, b):
    """Between Gaussians fitted to two sets of features (N, 28)."""
    (mean_a, cov_a), (mean_b, cov_b) = ((f.mean(0).numpy(), np.cov(f.numpy().T)) for f in (a, b))
    cross = np.trace(sqrtm(cov_a @ cov_b).real)
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)
