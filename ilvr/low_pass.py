"""phi_N of the paper: resample down by N, then up by N, antialiased and centred (ResizeRight)."""

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


class LowPassFilter:
    """The linear low-pass filter phi_N on the last two axes of a tensor (Eq. 8 of the paper).

    factor: N >= 1, any real number; 1 is the identity, N >= both sizes the plain mean.
    kernel: cubic (the paper's), lanczos2, lanczos3, linear or box; mirrored at the border.
    exact: phi is the orthogonal projection onto what the downsampling keeps. Then
    phi(phi(x)) = phi(x), its norm is 1, and after x + phi(y - x) the downsampled x and y agree.
    Else it is the paper's down and up, which is no projection.
    Raises ValueError for a factor below 1 or not a number, and for an unknown kernel.
    """

    def __init__(self, factor: float, kernel: str = "cubic", exact: bool = True):
        if not factor >= 1:
            raise ValueError(f"factor is {factor}; a downsampling factor of 1 or more is needed.")
        if kernel not in KERNELS:
            raise ValueError(f"Unknown kernel {kernel!r}: choose one of {', '.join(KERNELS)}.")
        self.factor, self.kernel, self.exact = float(factor), kernel, bool(exact)

    def __repr__(self):
        return f"LowPassFilter({self.factor:g}, {self.kernel!r}, exact={self.exact})"

    def __call__(self, x: Tensor) -> Tensor:
        """(..., H, W) -> phi(x), the same shape and dtype; computed in fp32."""
        if self.factor == 1:
            return x.clone()
        h, w = self._axes(x, self.exact)

        low = h.down.left(w.down.right(x.float()))  # D_h x D_w^T
        if h.between is not None:
            low = h.between @ low
        if w.between is not None:
            low = low @ w.between
        return w.up.right(h.up.left(low)).to(x.dtype)  # U_h low U_w^T

    def down(self, x: Tensor) -> Tensor:
        """(..., H, W) -> the downsampled image (..., ceil(H / N), ceil(W / N)), the same dtype."""
        if self.factor == 1:
            return x.clone()
        h, w = self._axes(x, exact=False)
        return h.down.left(w.down.right(x.float())).to(x.dtype)  # D_h x D_w^T

    def on_cells(self, pixels: float) -> "LowPassFilter":
        """The same filter on latents, whose cells are that many pixels wide."""
        return LowPassFilter(max(1.0, self.factor / pixels), self.kernel, self.exact)

    def _axes(self, x, exact):
        factor = math.inf if self.factor >= max(x.shape[-2:]) else self.factor
        return [_axis(size, factor, self.kernel, exact, x.device) for size in x.shape[-2:]]


class _Axis:
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
def _axis(size: int, factor: float, kernel: str, exact: bool, device) -> _Axis:
    """The projection of one axis is D^T (D D^T)^-1 D; the paper's filter is U D."""
    # Outside inference mode whoever asks first, so that callers of both kinds can use them.
    with torch.inference_mode(False):
        down = _down_matrix(size, factor, kernel)
        if not exact:
            up = _resampling_matrix(down.shape[0], size, factor, kernel)
            return _Axis(down, up, None, device)
        if factor < 2:  # D D^T can be near singular; any orthonormal basis of D's rows will do
            down = torch.linalg.qr(down.T).Q.T
        return _Axis(down, down.T, torch.linalg.inv(down @ down.T), device)


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
