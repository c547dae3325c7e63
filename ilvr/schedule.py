"""Noise schedules: q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I), Eq. 1-3 of the paper."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from .kinds import between, optional, several, whole

NAMES = ("linear", "scaled_linear", "cosine")
BetaRange = tuple[float, float] | None
LENGTH, ENDS = whole(1, 100_000), optional(several(between(0, 1), 2, 2))


@dataclass(frozen=True)
class Level:
    """A noise level: the paper's timestep `t` (1000 = pure noise, 0 = finished image) and
    x_t = signal * x_0 + noise * eps."""

    t: float
    signal: float
    noise: float

    @property
    def sigma(self) -> float:
        """Noise-to-signal ratio, the variance-exploding sigma."""
        return self.noise / self.signal if self.signal else math.inf

    ratio = sigma

    @property
    def key(self) -> float:
        """What the noise drawn at this level is known by; 0 for the finished image alone."""
        return self.t

    def within(self, range) -> bool:
        """Whether a ConditioningRange holds this level."""
        return self.t in range

    def noised(self, clean, eps):
        """A sample of q(x_t | x_0 = clean), Eq. 3; any shape."""
        return self.signal * clean + self.noise * eps


CLEAN = Level(0.0, 1.0, 0.0)


class NoiseSchedule:
    """A table of noise levels, from the cleanest to the noisiest.

    betas: (T,) variances between 0 and 1 that leave some signal at the end. timesteps: (T,) their
    indices in the schedule the model was trained with, whose length is `length`; both are the table
    itself unless it was respaced. Raises ValueError for other betas.
    """

    def __init__(self, betas, timesteps=None, length: int | None = None):
        self.betas = _numbers(betas)
        self.timesteps = np.arange(len(self.betas)) if timesteps is None else np.asarray(timesteps)
        self.length = length or len(self.betas)
        self.abar = np.cumprod(1 - self.betas)
        within = 0 < self.betas.min() <= self.betas.max() < 1
        if not (within and self.abar[0] < 1 and self.abar[-1] > 0):
            raise ValueError(
                f"The betas run from {self.betas.min():g} to {self.betas.max():g}; numbers between "
                f"0 and 1 are needed that leave some signal after their {len(self.betas)} steps."
            )
        self.levels = [
            Level((index + 1) * 1000 / self.length, math.sqrt(abar), math.sqrt(1 - abar))
            for index, abar in zip(self.timesteps.tolist(), self.abar.tolist(), strict=True)
        ]

    def __len__(self):
        return len(self.betas)

    @classmethod
    def linear(cls, length: int = 1000, beta_range: BetaRange = None) -> "NoiseSchedule":
        """Betas from 1e-4 to 0.02 at T = 1000, scaled to other lengths (Ho et al. 2020).

        beta_range: the first and the last beta instead.
        """
        start, end = _ends(length, beta_range)
        return cls(np.linspace(start, end, length))

    @classmethod
    def scaled_linear(cls, length: int = 1000, beta_range: BetaRange = None) -> "NoiseSchedule":
        """As linear, but it is the square roots of the betas that are equidistant."""
        start, end = _ends(length, beta_range)
        return cls(np.linspace(math.sqrt(start), math.sqrt(end), length) ** 2)

    @classmethod
    def cosine(cls, length: int = 1000) -> "NoiseSchedule":
        """abar = cos^2((t + 0.008) / 1.008 * pi / 2), betas at most 0.999 (Nichol et al. 2021)."""
        t = np.arange(LENGTH.of("length", length) + 1) / length
        abar = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
        return cls(np.minimum(1 - abar[1:] / abar[:-1], 0.999))

    @classmethod
    def named(cls, name: str, length: int = 1000, beta_range: BetaRange = None) -> "NoiseSchedule":
        if name not in NAMES:
            raise ValueError(
                f"Unknown noise schedule {name!r}: choose linear, scaled_linear or cosine."
            )
        if name == "cosine":
            return cls.cosine(length)
        return getattr(cls, name)(length, beta_range)

    def below(self, t: float) -> "NoiseSchedule":
        """The part from the paper's timestep t down. ValueError where there is none."""
        kept = sum(level.t <= t for level in self.levels)
        if not kept:
            lowest = self.levels[0].t
            raise ValueError(f"No noise level is at {t:g} or below; start at {lowest:g} or above.")
        return NoiseSchedule(self.betas[:kept], self.timesteps[:kept], self.length)

    def respaced(self, spacing: int | str | Iterable[int]) -> "NoiseSchedule":
        """The subsequence of levels that guided-diffusion's timestep_respacing names.

        spacing: a count; "ddimN" for N levels at one integer stride; or counts for equal sections
        of the table, cleanest first, as a list or "a,b,c". Raises ValueError if it does not fit.
        """
        kept = spaced_timesteps(len(self), spacing)
        abar = self.abar[kept]
        betas = 1 - abar / np.concatenate([[1.0], abar[:-1]])
        return NoiseSchedule(betas, self.timesteps[kept], self.length)

    @property
    def descending(self) -> list[Level]:
        """All levels from the noisiest down, then the clean one: what the samplers run through."""
        return [*reversed(self.levels), CLEAN]

    def at(self, t: float) -> Level:
        """The level of timestep t, between two of the table too: linear in log sigma."""
        table = np.log([level.sigma for level in self.levels])
        return _level(t, float(np.exp(np.interp(t, [level.t for level in self.levels], table))))

    def karras(self, steps: int, rho: float = 7.0) -> list[Level]:
        """`steps` levels equidistant in sigma ** (1 / rho), then the clean one (Karras et al.)."""
        if not (isinstance(steps, Integral) and 1 <= steps <= len(self)):
            raise ValueError(
                f"{steps} steps were asked for; this schedule takes from 1 to {len(self)}."
            )
        ends = [self.levels[-1].sigma ** (1 / rho), self.levels[0].sigma ** (1 / rho)]
        sigmas = np.linspace(ends[0], ends[1], steps) ** rho

        table = np.log([level.sigma for level in self.levels])
        ts = np.interp(np.log(sigmas), table, [level.t for level in self.levels])
        return [_level(t, sigma) for t, sigma in zip(ts.tolist(), sigmas.tolist())] + [CLEAN]


def _numbers(betas):
    try:
        betas = np.asarray(betas, dtype=np.float64)
        if betas.ndim == 1 and len(betas):
            return betas
    except (TypeError, ValueError):
        pass
    raise ValueError("The betas are no list of numbers; one between 0 and 1 a step is needed.")


def _level(t, sigma):
    signal = 1 / math.sqrt(1 + sigma**2)
    return Level(t, signal, sigma * signal)


def _ends(length, beta_range):
    LENGTH.of("length", length)
    ENDS.of("beta_range", beta_range)
    scale = 1000 / length
    return beta_range or (scale * 1e-4, scale * 0.02)


def spaced_timesteps(length: int, spacing: int | str | Iterable[int]) -> list[int]:
    """The indices, ascending, that `NoiseSchedule.respaced` keeps of a table of `length`."""
    if isinstance(spacing, str) and spacing.startswith("ddim"):
        count = _counts(spacing[4:], spacing)[0]
        for stride in range(1, length + 1):
            if len(range(0, length, stride)) == count:
                return list(range(0, length, stride))
        raise ValueError(f"Respacing {spacing!r}: no whole stride gives {count} of {length} steps.")
    counts = _counts(spacing, spacing) or [0]
    size, extra = divmod(length, len(counts))
    kept: list[int] = []
    start = 0
    for i, count in enumerate(counts):
        section = size + (i < extra)
        if not 1 <= count <= section:
            raise ValueError(
                f"Respacing {spacing!r}: {count} steps do not fit a section of {section}; "
                f"each section takes from 1 to its length."
            )
        gap = (section - 1) / max(count - 1, 1)
        position = 0.0
        for _ in range(count):
            kept.append(start + round(position))
            position += gap
        start += section
    return kept


def _counts(text, spacing) -> list[int]:
    try:
        if isinstance(text, int):
            return [text]
        return [int(part) for part in (text.split(",") if isinstance(text, str) else text)]
    except (ValueError, TypeError, OverflowError):
        raise ValueError(
            f"Respacing {spacing!r} is none of: a count, ddimN, a list of counts a,b,c."
        ) from None
