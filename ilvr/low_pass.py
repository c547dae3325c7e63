"""phi_N of the paper: resample down by N, then up by N, antialiased and centred; and bands."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .kinds import real
from .resampling import KERNELS, axis, over_time
from .values import tensor

CHANNELS = ("all", "luminance", "colour")


class BandPassFilter:
    """The detail of a picture between two factors: what `finest` keeps and `coarsest` does not.

    finest: N >= 1, any real number; 1 keeps the finest detail too.
    coarsest: N above finest; one of both sizes or more leaves the mean out alone, inf nothing.
    kernel: cubic (the paper's), lanczos2, lanczos3, linear or box; mirrored at the border.
    channels: "all", the "luminance" (the mean of R, G and B) alone, or the "colour" (what is left
    without it) alone.
    frames: of videos, N along time in pictures: what is kept changes no faster. 1 takes each frame
    by itself, as many as the video has or more what is the same in all of them.

    phi is an orthogonal projection along every axis: phi(phi(x)) = phi(x), its norm is 1, and after
    x + phi(y - x) this band of x is that of y. The coarser downsampling acts on what the finer one
    gives: so the one projection lies within the other, and their difference is one too.
    Raises ValueError for factors, a kernel, channels or frames that are not as above.
    """

    exact, _stride, _colours = True, 1, torch.eye(3)

    def __init__(
        self,
        finest: float = 1,
        coarsest: float = math.inf,
        kernel: str = "cubic",
        channels: str = "all",
        frames: float = 1,
    ):
        if not (real(finest) and finest >= 1):
            raise ValueError(f"factor is {finest}; a downsampling factor of 1 or more is needed.")
        if not (real(coarsest) and (coarsest > finest or coarsest == math.inf)):
            raise ValueError(
                f"The band runs from {finest:g} to {coarsest}; a coarsest factor above the "
                f"finest is needed."
            )
        if kernel not in tuple(KERNELS):
            raise ValueError(f"Unknown kernel {kernel!r}: choose one of {', '.join(KERNELS)}.")
        if channels not in CHANNELS:
            raise ValueError(f"Unknown channels {channels!r}: choose all, luminance or colour.")
        if not (real(frames) and frames >= 1):
            raise ValueError(f"frames is {frames}; a number of 1 or more is needed.")
        self.finest, self.coarsest, self.kernel = float(finest), float(coarsest), kernel
        self.channels, self.frames = channels, float(frames)

    def __repr__(self):
        return f"{type(self).__name__}({self.title}, {self.kernel}, exact={self.exact})"

    @property
    def title(self) -> str:
        """In words, such as `N = 8`, or `N = 1-32, luminance`."""
        band = "" if self.coarsest == math.inf else f"-{self.coarsest:g}"
        channels = "" if self.channels == "all" else f", {self.channels}"
        frames = "" if self.frames == 1 else f", {self.frames:g} frames"
        return f"N = {self.finest:g}{band}{channels}{frames}"

    @property
    def keep(self) -> str:
        """As `filters` takes it: "A-B", or "low" of a low-pass filter."""
        return f"{self.finest:g}-{self.coarsest:g}"

    @property
    def keeps_all(self) -> bool:
        """Whether phi is the identity."""
        return self.finest == self.frames == 1 and self.keeps_mean and self.channels == "all"

    @property
    def keeps_mean(self) -> bool:
        """Whether a picture of one grey is kept as it is; else what is kept lies around 0."""
        return self.coarsest == math.inf and self.channels != "colour"

    def is_mean_over(self, frames: int) -> bool:
        """Whether of so many latent frames their mean alone is kept."""
        return self.frames >= self._stride * (frames - 1) + 1

    def __call__(self, x: Tensor) -> Tensor:
        """(..., H, W) -> phi(x), the same shape and dtype; computed in fp32, which whole numbers
        become.

        With channels other than all, x is (B, 3, ..., H, W), or latents; frames are those of
        (B, C, T, H, W). Raises ValueError for other channels, where nothing lies in the band, and
        for what is no tensor of real numbers.
        """
        x = _picture(x)
        kept = self._in_space(x.float())
        if self.channels != "all":
            if x.ndim < 4 or x.shape[1] != len(self._colours):
                raise ValueError(
                    f"{self.channels.capitalize()} is of {len(self._colours)} channels and this "
                    f"has shape {tuple(x.shape)}; set channels to all."
                )
            kept = (self._across().to(x.device) @ kept.flatten(2)).reshape(kept.shape)
        if self.frames > 1 and x.ndim == 5:
            slow = over_time(x.shape[2], self.frames, self._stride, self.kernel, x.device)
            kept = (slow @ kept.flatten(-2)).reshape(kept.shape)  # s t, B C t HW
        return kept.to(x.dtype)

    def on_cells(self, pixels: float, frames: int = 1, colours: Tensor | None = None):
        """The same filter on latents, whose cells are that many pixels wide and `frames` pictures
        long, the first of them one. colours: (C, 3), how their channels add up to R, G and B.

        Raises ValueError where it would keep nothing of them, and for luminance or colour of
        latents whose colours are not known.
        """
        if pixels > 1 and self.channels != "all" and colours is None:
            raise ValueError(
                f"{self.channels.capitalize()} can't be told apart in the latents of this model; "
                f"set channels to all."
            )
        if self.coarsest <= pixels:
            raise ValueError(
                f"The band ends at a factor of {self.coarsest:g}, no more than the {pixels:g} "
                f"pixels of a latent cell, so that nothing is kept; end it at {2 * pixels:g} or "
                f"more."
            )
        cells = copy.copy(self)
        cells.finest = max(1.0, self.finest / pixels)
        cells.coarsest, cells._stride = self.coarsest / pixels, frames
        if pixels > 1 and colours is not None:
            cells._colours = colours
        return cells

    def _across(self):
        """(C, C), the projection of channels on what luminance, or colour, is made of."""
        colours = self._colours.detach().cpu().double()
        luminance = colours.mean(1, keepdim=True)
        made, rank = (luminance, 1) if self.channels == "luminance" else (colours - luminance, 2)
        basis = torch.linalg.svd(made, full_matrices=False).U[:, :rank]
        return (basis @ basis.T).float()

    def _in_space(self, x):
        fine = self._projected(x, self.finest)
        if self.coarsest == math.inf:
            return fine
        if self.finest >= max(x.shape[-2:]):
            raise ValueError(
                f"A picture of {x.shape[-1]} x {x.shape[-2]} has nothing between {self.finest:g} "
                f"and {self.coarsest:g}; start the band below its size."
            )
        return fine - self._projected(x, self.finest, self.coarsest)

    def _projected(self, x, *factors):
        """What is kept of x by one downsampling after the other, as far as `factors`."""
        if factors == (1,):
            return x.clone()
        h, w = self._axes(x, factors)

        low = h.down.left(w.down.right(x))  # D_h x D_w^T
        if h.between is not None:
            low = h.between @ low
        if w.between is not None:
            low = low @ w.between
        return w.up.right(h.up.left(low))  # U_h low U_w^T

    def _axes(self, x, factors, exact=None):
        exact = self.exact if exact is None else exact
        factors = tuple(math.inf if n >= max(x.shape[-2:]) else n for n in factors if n > 1)
        return [axis(size, factors, self.kernel, exact, x.device) for size in x.shape[-2:]]


class LowPassFilter(BandPassFilter):
    """The linear low-pass filter phi_N (Eq. 8 of the paper): all detail from a factor on.

    factor: N >= 1, any real number; 1 is the identity, N >= both sizes the plain mean.
    exact: phi is the orthogonal projection onto what the downsampling keeps, so that the
    downsampled x and y agree after x + phi(y - x). Else it is the paper's down and up, which is no
    projection.
    kernel, channels, frames: as of BandPassFilter.
    """

    def __init__(
        self,
        factor: float,
        kernel: str = "cubic",
        exact: bool = True,
        channels: str = "all",
        frames: float = 1,
    ):
        super().__init__(factor, math.inf, kernel, channels, frames)
        self.exact = bool(exact)

    @property
    def factor(self) -> float:
        return self.finest

    @property
    def keep(self) -> str:
        return "low"

    def down(self, x: Tensor) -> Tensor:
        """(..., H, W) -> the downsampled image (..., ceil(H / N), ceil(W / N)), as `__call__`."""
        x = _picture(x)
        if self.factor == 1:
            return x.clone()
        h, w = self._axes(x, (self.factor,), exact=False)
        return h.down.left(w.down.right(x.float())).to(x.dtype)  # D_h x D_w^T


def filters(
    keep: Sequence[str],
    factors: Sequence[float],
    kernel: str = "cubic",
    exact: bool = True,
    channels: str = "all",
) -> list[BandPassFilter]:
    """Every pair of what is kept and a factor.

    keep: "low" is all detail from the factor on, "high" all up to it, and "A-B" that between two
    factors of its own. Raises ValueError for other words, and for a band that is not exact.
    """
    made: list[BandPassFilter] = []
    for word in keep:
        if word == "low":
            made += [LowPassFilter(n, kernel, exact, channels) for n in factors]
            continue
        if not exact:
            raise ValueError(f"Only the low frequencies can be kept inexactly, and not {word}.")
        bands = [(1.0, n) for n in factors] if word == "high" else [_ends(word)]
        made += [BandPassFilter(a, b, kernel, channels) for a, b in bands]
    return made


def _ends(text):
    finest, _, coarsest = text.partition("-")
    try:
        return float(finest), float(coarsest)
    except ValueError:
        raise ValueError(
            f"{text!r} can't be kept; give low, high, or two factors, such as 4-32."
        ) from None


def _picture(x):
    x = tensor(x, "The image", axes=2)
    return x if x.is_floating_point() else x.float()
