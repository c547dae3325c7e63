"""The matrices that resample one axis (ResizeRight): D makes it smaller, U larger again."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def _cubic(x):
    x = np.abs(x)
    near = 1 + x**2 * (1.5 * x - 2.5)
    far = 2 + x * (-4 + x * (2.5 - 0.5 * x))
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _lanczos(lobes):
    return lambda x: np.where(np.abs(x) < lobes, np.sinc(x) * np.sinc(x / lobes), 0.0)


def _linear(x):
    return np.maximum(1 - np.abs(x), 0.0)


# name: (weight at a distance in output pixels, width of its support)
KERNELS = {
    "cubic": (_cubic, 4),
    "lanczos2": (_lanczos(2), 4),
    "lanczos3": (_lanczos(3), 6),
    "linear": (_linear, 2),
    "box": (np.ones_like, 1),
}


class Axis:
    """D (m, n) and U (n, m) of one axis in fp32, with a symmetric (m, m) `between` them or None."""

    def __init__(self, down, up, between, device):
        blocks = max(1, down.shape[0] // 16) if down.shape[1] > 512 else 1
        if blocks == 1 and between is not None:
            up, between = up @ between, None

        self.down, self.up = _Matrix(down, blocks, device), _Matrix(up, blocks, device)
        self.between = None if between is None else between.float().to(device)


class _Matrix:
    """A matrix M of one axis. From the right it is applied in blocks that leave the zeros of a
    banded matrix out, where the axis is long enough to gain by it."""

    def __init__(self, matrix, blocks, device):
        self._whole = matrix.float().to(device)
        self._blocks = []
        for rows in self._whole.split(-(-matrix.shape[0] // blocks)):
            used = rows.abs().amax(0).nonzero()
            columns = slice(int(used[0]), int(used[-1]) + 1)
            self._blocks.append((columns, rows[:, columns].T.contiguous()))

    def left(self, x):  # ... n k -> M x: ... m k
        return self._whole @ x

    def right(self, x):  # ... k n -> x M^T: ... k m
        if len(self._blocks) == 1:
            columns, block = self._blocks[0]
            return x[..., columns] @ block

        flat = x.reshape(-1, x.shape[-1])
        out = torch.cat([flat[:, columns] @ block for columns, block in self._blocks], dim=1)
        return out.reshape(*x.shape[:-1], -1)


@lru_cache(maxsize=64)
def axis(size: int, factors: tuple, kernel: str, exact: bool, device) -> Axis:
    """The projection of one axis is D^T (D D^T)^-1 D; the paper's filter is U D.

    D downsamples by the first of the factors, then on, as far as the next.
    """
    # Outside inference mode whoever asks first, so that callers of both kinds can use them.
    with torch.inference_mode(False):
        steps = [factor / before for before, factor in zip((1.0, *factors), factors)]
        down = _down_matrix(size, steps[0], kernel)
        for step in steps[1:]:
            down = _down_matrix(len(down), step, kernel) @ down
        if not exact:
            up = _resampling_matrix(len(down), size, factors[-1], kernel)
            return Axis(down, up, None, device)
        if min(steps) < 2:  # D D^T can be near singular; any orthonormal basis of D's rows will do
            down = torch.linalg.qr(down.T).Q.T
        return Axis(down, down.T, torch.linalg.inv(down @ down.T), device)


def _down_matrix(size, factor, kernel):
    if factor == math.inf:
        return torch.full((1, size), 1 / size, dtype=torch.float64)
    return _resampling_matrix(size, math.ceil(size / factor), 1 / factor, kernel)


def _resampling_matrix(size: int, out: int, scale: float, kernel: str) -> Tensor:
    """(out, size) fp64 weights of a centred resampling by `scale`, antialiased when it shrinks."""
    weight, support = KERNELS[kernel]
    stretch = max(1 / scale, 1.0)
    eps = float(np.finfo(np.float32).eps)  # ResizeRight's, where a tap lies on the border
    centres = (size - 1) / 2 + (np.arange(out) - (out - 1) / 2) / scale
    first = np.ceil(centres - support * stretch / 2 - eps)
    taps = first[:, None] + np.arange(math.ceil(support * stretch - eps))
    weights = weight((centres[:, None] - taps) / stretch)
    weights /= weights.sum(1, keepdims=True)
    mirrored = np.mod(taps, 2 * size).astype(int)
    mirrored = np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored)
    matrix = np.zeros((out, size))
    np.add.at(matrix, (np.arange(out)[:, None], mirrored), weights)
    return torch.from_numpy(matrix)


@lru_cache(maxsize=64)
def over_time(length: int, frames: float, stride: int, kernel: str, device) -> Tensor:
    """(T, T) fp32, the projection of T latent frames on what changes no faster than in `frames`
    pictures; what does not change at all is kept whole.

    The first latent frame is one picture and each other `stride` of them, as in the causal video
    autoencoders; D weighs a latent frame by where the middle of its pictures lies.
    """
    pictures = stride * (length - 1) + 1
    frames = min(frames, pictures)
    count = math.ceil(pictures / frames)
    with torch.inference_mode(False):
        if count >= length:
            return torch.eye(length, device=device)
        weight, support = KERNELS[kernel]
        middles = np.arange(length) * stride - (stride - 1) / 2
        middles[0] = 0
        centres = (pictures - 1) / 2 + (np.arange(count) - (count - 1) / 2) * frames

        down = np.zeros((count, length))
        for turn in range(-2, 3):  # mirrored at both ends
            for taps in (middles, -1 - middles):
                away = (centres[:, None] - taps - 2 * pictures * turn) / frames
                down += np.where(np.abs(away) <= support / 2, weight(away), 0)
        basis = torch.linalg.qr(torch.from_numpy(down / down.sum(0)).T).Q
        return (basis @ basis.T).float().to(device)
