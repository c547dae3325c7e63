"""Samplers: each takes a denoiser `(x, t) -> noise prediction` and yields a `Step` per step.

x is (B, C, H, W), t the paper's timestep (1000 = pure noise). The prediction has C channels, or 2C
where the variance is learned too. A caller stops a sampler by no longer asking for steps.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .guidance import Refinement
from .kinds import real
from .model import DiffusionModel
from .noise import ItemNoise
from .schedule import CLEAN, Level, NoiseSchedule
from .values import finite

Denoiser = Callable[[Tensor, float], Tensor]
VARIANCES = ("learned", "small", "large")
DEFAULT_STEPS = {"dpmpp_2m": 20, "ddim": 50, "ddpm": 250}
STEPS_BELOW = {"dpmpp_2m": 8, "ddim": 25, "ddpm": 100}  # from a start below pure noise
STARTS = ("noise", "reference")
SPACINGS = ("karras", "uniform")


@dataclass(frozen=True)
class Step:
    """After `index` of `total` steps: the state x at `level`, and the image x0 predicted."""

    index: int
    total: int
    level: Level
    x: Tensor
    x0: Tensor


def ddpm(
    denoiser: Denoiser,
    x: Tensor,
    schedule: NoiseSchedule,
    noise: ItemNoise,
    refinement: Refinement | None = None,
    *,
    variance: str | None = None,
    clip: bool = True,
) -> Iterator[Step]:
    """Ancestral sampling, Eq. 5 (Ho et al. 2020), the paper's sampler.

    variance: "small" (of the posterior), "large" (beta_t) or "learned" (interpolated between them
    by the network, Nichol and Dhariwal 2021); None takes the learned one where there is one.
    clip: clamp the predicted image to [-1, 1]. Raises ValueError for a variance that is not there.
    """
    x = finite(x, "The state", axes=2)
    levels = [CLEAN, *schedule.levels]
    total = len(schedule)
    for i in range(total, 0, -1):
        left, entered = levels[i], levels[i - 1]
        eps, learned = _split(denoiser(x, left.t), x)
        x0 = _predict(x, eps, left, entered, refinement, clip)
        beta, abar, previous = schedule.betas[i - 1], left.signal**2, entered.signal**2
        mean = (beta * entered.signal * x0 + math.sqrt(1 - beta) * (1 - previous) * x) / (1 - abar)
        if i > 1:
            log_small = math.log(beta * (1 - previous) / (1 - abar))
            log_variance = _log_variance(variance, log_small, math.log(beta), learned)
            mean = mean + torch.exp(0.5 * log_variance) * noise.draw("sampler", entered.t, x)
        x = _refine(mean, entered, left, noise, refinement)
        yield Step(total - i + 1, total, entered, x, x0)


def ddim(
    denoiser: Denoiser,
    x: Tensor,
    levels: list[Level],
    noise: ItemNoise,
    refinement: Refinement | None = None,
    *,
    eta: float = 0.0,
    clip: bool = True,
) -> Iterator[Step]:
    """Song et al. 2021, Eq. 12: eta 0 is deterministic, 1 has the variance of ddpm.

    levels: from the noisiest down to the clean one, as `NoiseSchedule.descending` gives.
    """
    x = finite(x, "The state", axes=2)
    for i, (left, entered) in enumerate(itertools.pairwise(levels), 1):
        eps, _ = _split(denoiser(x, left.t), x)
        x0 = _predict(x, eps, left, entered, refinement, clip)
        eps = (x - left.signal * x0) / left.noise
        kept = 1 - (left.signal / entered.signal) ** 2
        sigma = eta * entered.noise / left.noise * math.sqrt(kept)
        x = entered.signal * x0 + math.sqrt(entered.noise**2 - sigma**2) * eps
        if sigma > 0:
            x = x + sigma * noise.draw("sampler", entered.t, x)
        x = _refine(x, entered, left, noise, refinement)
        yield Step(i, len(levels) - 1, entered, x, x0)


def dpmpp_2m(
    denoiser: Denoiser,
    x: Tensor,
    levels: list[Level],
    noise: ItemNoise,
    refinement: Refinement | None = None,
    *,
    clip: bool = True,
) -> Iterator[Step]:
    """DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2): deterministic, second order, few steps.

    levels: from the noisiest down to the clean one, as `NoiseSchedule.karras` gives.
    """
    x = finite(x, "The state", axes=2)
    old_x0, old_h = None, 1.0
    for i, (left, entered) in enumerate(itertools.pairwise(levels), 1):
        eps, _ = _split(denoiser(x, left.t), x)
        x0 = _predict(x, eps, left, entered, refinement, clip)
        h = math.log(left.sigma / entered.sigma) if entered.noise else math.inf
        d = x0
        if old_x0 is not None and entered.noise:
            d = x0 + (x0 - old_x0) * h / (2 * old_h)
        x = entered.noise / left.noise * x - entered.signal * math.expm1(-h) * d
        old_x0, old_h = x0, h
        x = _refine(x, entered, left, noise, refinement)
        yield Step(i, len(levels) - 1, entered, x, x0)


def steps(
    model: DiffusionModel,
    seeds: Sequence[int],
    refinement: Refinement | None = None,
    *,
    start: str | float = "noise",
    sampler: str = "dpmpp_2m",
    steps: int | None = None,
    respacing: int | str | None = None,
    spacing: str = "karras",
    variance: str | None = None,
    eta: float = 0.0,
    clip: bool = True,
    label: int | None = None,
) -> Iterator[Step]:
    """The steps of one sampler on a `DiffusionModel`, one image a seed.

    They are in the model's own space, as the refinement's reference is: `model.encode` leads there
    and `model.decode` back. Factors of filters are in image pixels, and latents are never clamped.
    start: "noise", as in the paper; "reference", the level below which the model decides what the
    reference has not (`Refinement.start`); or a timestep. A batch of several references starts at
    the highest of their levels: too high a one costs accuracy of the steps, too low a one detail.
    sampler: dpmpp_2m, ddim or ddpm. steps: their number, of the sampler's default where None.
    respacing: the levels instead, in guided-diffusion's notation (`NoiseSchedule.respaced`).
    spacing: of dpmpp_2m's steps, "karras" or "uniform" in timesteps. variance: of ddpm, None being
    the learned one, else the one that the model's own project takes. eta: of
    ddim. clip: clamp predicted images to [-1, 1]. label: class of a conditional model.
    Raises ValueError, before the first step, for settings that do not fit.
    """
    if not isinstance(model, DiffusionModel):
        raise ValueError(f"The model is a {type(model).__name__}; one that `load` gives is needed.")
    if not isinstance(refinement, Refinement | None):
        kind = type(refinement).__name__
        raise ValueError(f"The refinement is a {kind}; a Refinement or None is needed.")
    if spacing not in SPACINGS:
        raise ValueError(f"Unknown spacing {spacing!r}: choose {' or '.join(SPACINGS)}.")
    if not (real(eta) and 0 <= eta <= 1):
        raise ValueError(f"eta is {eta}; a number from 0 to 1 is needed.")
    if steps is not None and respacing is not None:
        raise ValueError("Both steps and respacing were given; give one of them.")
    schedule = model.schedule.below(start_timestep(model, refinement, start))
    count = step_count(schedule, sampler, steps, respacing)
    denoiser = model.denoiser(label)
    cell = model.configuration.compression
    refinement, clip = refinement and _on_cells(refinement, model), clip and cell == 1
    noise = ItemNoise(seeds)
    size = model.configuration.image_size
    blank = torch.empty(len(noise.seeds), model.configuration.in_channels, size, size)
    x = noise.draw("start", 1000, blank).to(model.device)
    if refinement and len(schedule) < len(model.schedule):
        x = schedule.levels[-1].noised(refinement.kept(torch.zeros_like(x)), x)
    if sampler == "dpmpp_2m" and spacing == "karras" and respacing is None:
        levels = schedule.karras(count)
        return dpmpp_2m(denoiser, x, levels, noise, refinement, clip=clip)
    schedule = schedule.respaced(count if respacing is None else respacing)
    if sampler == "ddpm":
        variance = variance or model.configuration.variance
        return ddpm(denoiser, x, schedule, noise, refinement, variance=variance, clip=clip)
    if sampler == "ddim":
        return ddim(denoiser, x, schedule.descending, noise, refinement, eta=eta, clip=clip)
    return dpmpp_2m(denoiser, x, schedule.descending, noise, refinement, clip=clip)


def _on_cells(refinement, model):
    """The refinement in the model's own space; ValueError for a reference that is a picture where
    the model paints latents."""
    channels = refinement.reference.image.shape[1]
    if channels != model.configuration.in_channels:
        raise ValueError(
            f"The reference has {channels} channels and the model {model.configuration.in_channels}"
            f"; give NoisedReference what model.encode makes of the picture."
        )
    colours = None if refinement.low_pass.channels == "all" else model.colours()
    return refinement.on_cells(model.configuration.compression, colours)


def start_timestep(
    model: DiffusionModel, refinement: Refinement | None, start: str | float
) -> float:
    """The paper's timestep that `steps` starts from; 1000, pure noise, without a refinement.

    Raises ValueError for a start that is none, and for a timestep where a mask or a filter leaves
    what is coarse with no reference to start from.
    """
    if not isinstance(start, str) and not real(start):
        raise ValueError(f"start is a {type(start).__name__}; a word or a timestep is needed.")
    if start in ("noise", 1000) or refinement is None:
        return 1000.0
    if start == "reference":
        levels = model.schedule.levels[::-1]
        return levels[_on_cells(refinement, model).start(levels)].t
    if isinstance(start, str):
        raise ValueError(f"Unknown start {start!r}: choose noise, reference or a timestep.")
    if not 0 < start < 1000:
        raise ValueError(f"start is {start:g}; a timestep above 0, up to 1000, is needed.")
    if refinement.reference.mask is not None or not refinement.low_pass.keeps_mean:
        raise ValueError(
            f"start is {start:g}, and what the mask or the filter leaves free has nothing to start "
            f"from there; start from noise."
        )
    return start


def step_count(
    schedule: NoiseSchedule,
    sampler: str,
    steps: int | None = None,
    respacing: int | str | None = None,
) -> int:
    """Evaluations of the network an image: what `steps` takes on this schedule, or the part of one
    that is left from its start; no more than it has where the number is the sampler's default."""
    if respacing is not None:
        return len(schedule.respaced(respacing))
    if sampler not in tuple(DEFAULT_STEPS):
        raise ValueError(f"Unknown sampler {sampler!r}: choose one of {', '.join(DEFAULT_STEPS)}.")
    whole = schedule.levels[-1].t == 1000
    defaults = DEFAULT_STEPS if whole else STEPS_BELOW
    return min(defaults[sampler], len(schedule)) if steps is None else steps


def sample(
    model: DiffusionModel, seeds: Sequence[int], refinement: Refinement | None = None, **settings
) -> Tensor:
    """Finished pictures (B, 3, H, W) in about [-1, 1], one a seed; the settings of `steps`."""
    for step in steps(model, seeds, refinement, **settings):
        pass
    return model.decode(step.x)


def _split(output, x):
    """The network's output as (eps, learned variance in [-1, 1] or None)."""
    channels = x.shape[1]
    if output.shape[1] == 2 * channels:
        return output.split(channels, dim=1)
    return output, None


def _predict(x, eps, left, entered, refinement, clip):
    x0 = (x - left.noise * eps) / left.signal
    if not x0.isfinite().all():
        raise ValueError(
            f"The prediction at timestep {left.t:g} is not finite; the model needs another dtype, "
            f"such as float32, or is not of this schedule."
        )
    if clip:
        x0 = x0.clamp(-1, 1)
    return refinement.prediction(x0, entered) if refinement else x0


def _refine(x, entered, left, noise, refinement):
    return refinement.state(x, entered, noise, left) if refinement else x


def _log_variance(variance, log_small, log_large, learned):
    if variance is None:
        variance = "small" if learned is None else "learned"
    if variance == "learned":
        if learned is None:
            raise ValueError("This model has no learned variance; choose variance small or large.")
        return log_small + (learned + 1) / 2 * (log_large - log_small)
    if variance not in VARIANCES:
        raise ValueError(f"Unknown variance {variance!r}: choose small, large or learned.")
    return torch.tensor(log_small if variance == "small" else log_large)
