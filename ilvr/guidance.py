"""The refinement of ILVR: Eq. 8 of the paper, and its form on the predicted image."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .kinds import real
from .low_pass import BandPassFilter, LowPassFilter
from .noise import ItemNoise
from .reference import LOG_SIGMA_SPAN, NoisedReference
from .values import finite

GUIDES = ("state", "prediction")
UNDECIDED = 1 / 64  # signal to noise power at which detail is not decided yet
FLAT = 1e-3  # power of detail over N^2 that the plainest reference is taken to have


@dataclass(frozen=True)
class ConditioningRange:
    """The timesteps [end, start] in which a state is refined, Eq. 10.

    In the paper's timesteps whatever the model: 1000 = pure noise, 0 = finished image, which is
    refined when `end` is 0. Raises ValueError unless 1000 >= start >= end >= 0.
    """

    start: float = 1000
    end: float = 0

    def __post_init__(self):
        numbers = real(self.start) and real(self.end)
        if not (numbers and 1000 >= self.start >= self.end >= 0):
            start, end = (f"{t:g}" if real(t) else t for t in (self.start, self.end))
            raise ValueError(
                f"The range is {start} to {end}; it must run from a start of at most "
                f"1000 (pure noise) down to an end of at least 0 (finished image)."
            )

    @classmethod
    def parse(cls, text: str) -> "ConditioningRange":
        """From "END" or "START-END", such as 250 or 800-200. Raises ValueError for other texts."""
        try:
            start, _, end = text.rpartition("-")
            bounds = float(start or 1000), float(end)
        except (ValueError, AttributeError, TypeError):
            raise ValueError(
                f"{text!r} is no range; give END or START-END, such as 800-200."
            ) from None
        return cls(*bounds)

    def __str__(self):
        return f"{self.start:g}-{self.end:g}"

    def __contains__(self, t: float) -> bool:
        return self.start >= t >= self.end


class Refinement:
    """Replaces the low frequencies of the state, or of the prediction, by the reference's.

    guide: "state" refines x_t itself, `x + m phi(m (y_t - x) + sigma sqrt(2 (1 - m^2)) eps)`, which
    without a mask is Eq. 8; "prediction" refines the predicted clean image,
    `x0 + w m phi(m (y - x0))`, for samplers whose state cannot be edited.
    m is the reference's mask, of one step where it is grey: what lies outside it has no influence,
    and the eps of its own gives back the noise that a mixture of two has too little of.
    strength: in [0, 1], about the share of the difference in low frequencies that is gone in the
    finished image; below 1 with "prediction" only, since a mixture of two states with independent
    noise has too little of it. w = 1 - (1 - strength)^(1 / 9) at every step: such a pull leaves
    exp(-w d(log sigma)) of the difference, and about 9 units of log sigma decide an image.
    released: reproduce the authors' code, which noises the reference to the level just left
    instead of the level entered, and never refines the finished image.
    """

    def __init__(
        self,
        reference: NoisedReference,
        low_pass: BandPassFilter,
        range: ConditioningRange = ConditioningRange(),
        guide: str = "state",
        strength: float = 1.0,
        released: bool = False,
    ):
        if guide not in GUIDES:
            raise ValueError(f"Unknown guide {guide!r}: choose state or prediction.")
        if not (real(strength) and 0 <= strength <= 1):
            raise ValueError(f"strength is {strength}; a number from 0 to 1 is needed.")
        if guide == "state" and strength < 1:
            raise ValueError(
                f"strength {strength} would mix independent noises in the state, which loses "
                f"variance; use guide prediction for a strength below 1."
            )
        if not isinstance(reference, NoisedReference):
            raise ValueError(f"The reference is a {_kind(reference)}; a NoisedReference is needed.")
        if not callable(low_pass):
            raise ValueError(f"The filter is a {_kind(low_pass)}; a LowPassFilter is needed.")
        if not isinstance(range, ConditioningRange):
            raise ValueError(
                f"The range is {range!r}; a ConditioningRange is needed, as of (start, end)."
            )
        self.reference, self.low_pass, self.range = reference, low_pass, range
        self.guide, self.strength, self.released = guide, strength, released

    def on_cells(self, pixels: float, colours: Tensor | None = None) -> "Refinement":
        """The same on latents, whose cells are that many pixels wide; factors are of pixels.

        colours: (C, 3), how their channels add up to R, G and B, where that is known. Raises
        ValueError where nothing but the reference could come out, or nothing would be kept.
        """
        if pixels == 1:
            return self
        free = self.reference.mask is not None or self.range.end > 0 or self.strength < 1
        refuse_the_reference_itself(self.low_pass, pixels, free)
        refinement = copy.copy(self)
        refinement.low_pass = self.low_pass.on_cells(pixels, colours=colours)
        return refinement

    def applies(self, level) -> bool:
        """Whether what enters `level` is refined: the state, or the prediction of that step.

        level: knows by `within(range)` whether it lies in a ConditioningRange.
        """
        if not self.strength or not level.within(self.range):
            return False
        return not self.released or level.t > self.range.end

    def start(self, levels: Sequence, sigma: float | None = None) -> int:
        """Which of `levels`, falling, sampling may start from, in the state of what is `kept`.

        It is the last that is no quieter than `sigma`, by default the highest `start_sigma` of the
        references; where the range ends above it, the last one in the range. The first of all, as
        in the paper, where the reference does not decide all that is coarse: with a mask, a
        strength below 1, a band, and where the range starts below that level.
        levels: each knows `within(range)` and its noise-to-signal `ratio`.
        """
        inside = [i for i, level in enumerate(levels) if level.within(self.range)]
        if not inside or self.strength < 1 or self.reference.mask is not None:
            return 0
        if sigma is None:
            sigma = float(start_sigma(self.reference.image, self.low_pass).max())
        louder = sum(level.ratio >= sigma for level in levels)
        index = min(max(louder - 1, 0), inside[-1])
        return index if index >= inside[0] else 0

    def kept(self, x: Tensor) -> Tensor:
        """Clean images x (B, C, ...) with the reference's low frequencies."""
        return self._pull(x, self.reference.clean(x))

    def state(self, x: Tensor, level, noise: ItemNoise, left=None) -> Tensor:
        """x (B, C, ...) that enters `level`, refined there; `left` is the level it came from."""
        if self.guide != "state" or not self.applies(level):
            return x
        level = left if self.released else level
        target = self.reference.noised(level, x, noise)
        return self._pull(x, target, lacking=self.reference.lacking(level, x, noise))

    def finished(self, x: Tensor) -> Tensor:
        """A finished image x (B, C, ...), whoever made it, with the reference's low frequencies
        where the range ends at 0 and the strength is 1."""
        if self.range.end or self.strength < 1 or self.released:
            return x
        return self.kept(x)

    def prediction(self, x0: Tensor, level) -> Tensor:
        """The predicted image x0 (B, C, ...) of a step that enters `level`, refined."""
        if self.guide != "prediction" or not self.applies(level):
            return x0
        weight = 1 - (1 - self.strength) ** (1 / LOG_SIGMA_SPAN)
        return self._pull(x0, self.reference.clean(x0), weight)

    def _pull(self, x, target, weight=1.0, lacking=None):
        mask = self.reference.step_mask_for(x)
        return _pulled(x, target, self.low_pass, mask, weight, lacking)


def _pulled(x, target, low_pass, mask, weight=1.0, lacking=None):
    pull = target - x.float()
    if mask is None:
        pull = low_pass(pull)
    else:
        pull = mask * pull if lacking is None else mask * pull + lacking
        pull = mask * low_pass(pull)
    return (x + weight * pull).to(x.dtype)


def refuse_the_reference_itself(low_pass: BandPassFilter, pixels: float, free: bool):
    """ValueError where a filter keeps all of latents, of so many pixels a cell, and nothing else
    leaves them free."""
    if low_pass.channels == "all" and low_pass.on_cells(pixels).keeps_all and not free:
        raise ValueError(
            f"Factor {low_pass.finest:g} is no more than the {pixels:g} pixels of a latent cell, "
            f"so that the result would be the reference itself; use a factor of {2 * pixels:g} or "
            f"more, end the range above 0, or give a mask."
        )


def _kind(value):
    return type(value).__name__


def start_sigma(y: Tensor, low_pass: BandPassFilter) -> Tensor:
    """(R,) for references y (R, C, ..., H, W): the noise-to-signal ratio 8 sqrt(S) above which
    sampling decides nothing that the reference has not decided; infinite for a filter that leaves
    something coarse to the model.

    S is the mean power of a coefficient of (P_{N/2} - P_N) y, the octave that the model has to
    invent first: more noise than that hides it. A plain reference says little of that octave, so S
    is no less than a quarter of the octave above, as the spectrum of pictures falls, nor than
    FLAT N^2. y is in the space of the model, where low_pass acts.
    """
    if not _keeps_the_coarse(low_pass, y):
        return torch.full((len(y),), math.inf)
    factor = min(low_pass.finest, max(y.shape[-2:]))
    own, above = (_octave_power(y, f, low_pass.kernel) for f in (factor, 2 * factor))
    power = torch.maximum(own, above / 4).clamp(min=FLAT * factor**2)
    return (power / UNDECIDED).sqrt()


def _keeps_the_coarse(low_pass, y):
    in_time = low_pass.frames == 1 or y.ndim == 4
    return low_pass.coarsest == math.inf and low_pass.channels == "all" and in_time


def _octave_power(y, factor, kernel):
    factors = max(1.0, factor / 2), max(1.0, factor)
    fine, coarse = (LowPassFilter(f, kernel)(y.float()) for f in factors)
    counts = [math.prod(math.ceil(n / f) for n in y.shape[-2:]) for f in factors]
    coefficients = y[0, ..., 0, 0].numel() * max(counts[0] - counts[1], 1)
    return (fine - coarse).square().flatten(1).sum(1) / coefficients


def match_low_frequencies(
    x: Tensor, reference: NoisedReference, low_pass: BandPassFilter, rounds: int = 32
) -> Tensor:
    """Finished images x (B, C, H, W) in [-1, 1], given the reference's low frequencies.

    `x + m phi(m (y - x))` can leave [-1, 1], and clamping moves the low frequencies again: both
    are repeated, `rounds` times at most, as projections onto convex sets.
    """
    x = finite(x, "The image", axes=3).float()
    y, mask = reference.clean(x), reference.mask_for(x)
    for _ in range(rounds):
        matched = _pulled(x, y, low_pass, mask).clamp(-1, 1)
        if (matched - x).abs().max() < 1e-4:
            return matched
        x = matched
    return x
