"""One run of a guided sampler: what is refined, when, and what is said where nothing was."""

import logging
import math

import torch
from torch import Tensor

from ...ilvr import ConditioningRange, ItemNoise, NoisedReference
from .latents import Part, check_sampled, item_numbers
from .reference import item_seeds, resampled

FULL_NOISE = 1 - 1e-5  # of sigma_max: from here on the host takes a state for pure noise


class SigmaLevel:
    """A noise level of the host, which knows by itself how its model is noised."""

    def __init__(self, sigma: float, model_sampling):
        self.sigma, self.key, self.model_sampling = sigma, 1000 * sigma, model_sampling

    @property
    def ratio(self) -> float:
        """Of noise to signal."""
        one, none = torch.ones(1, 1), torch.zeros(1, 1)
        signal = float(self.noised(one, none))
        return float(self.noised(none, one)) / signal if signal else math.inf

    def within(self, range: ConditioningRange) -> bool:
        return self._at(range.start) * (1 + 1e-6) >= self.sigma >= self._at(range.end) * (1 - 1e-6)

    @property
    def pure(self) -> bool:
        """Whether the host takes a state of this level for noise alone."""
        return self.sigma >= float(self.model_sampling.sigma_max) * FULL_NOISE

    def noised(self, clean: Tensor, eps: Tensor) -> Tensor:
        return self._scaled(clean, eps, False)

    def began(self, latent: Tensor, eps: Tensor) -> Tensor:
        """The state with which the host begins at this level."""
        return self._scaled(latent, eps, self.pure)

    def _scaled(self, clean, eps, pure):
        sigma = torch.tensor([self.sigma], device=clean.device)
        return self.model_sampling.noise_scaling(sigma, eps, clean, pure)

    def _at(self, t):
        if t in (0, 1000):
            return float("inf") if t else 0.0
        return float(self.model_sampling.percent_to_sigma(1 - t / 1000))


def numbers_in_batch(first: SigmaLevel, latent: Tensor | None, x: Tensor, seed: int) -> list[int]:
    """The numbers of the items of x, the first state of a run on this latent, in their batch."""
    if latent is None or latent.shape != x.shape:
        return list(range(len(x)))
    return item_numbers(x, seed, lambda eps, i: first.began(latent[i], eps))


def run_seeds(model, x: Tensor, sigmas: Tensor, extra_args: dict) -> list[int]:
    """A seed for each item of x, the first state of a sampler's run on the host's `model`."""
    seed = extra_args.get("seed") or 0
    if isinstance(model, ModelProxy):
        return item_seeds(seed, model.run.numbers)
    first = SigmaLevel(float(sigmas[0]), model.inner_model.inner_model.model_sampling)
    return item_seeds(seed, numbers_in_batch(first, getattr(model, "latent_image", None), x, seed))


class ModelProxy:
    """What the sampler takes for its model: its calls go through the run, all else is the model."""

    def __init__(self, model, run: "GuidedRun"):
        vars(self).update(_model=model, run=run)

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __setattr__(self, name, value):
        setattr(self._model, name, value)

    def __call__(self, x, sigma, *args, **kwargs):
        return self.run.call(self._model, x, sigma, *args, **kwargs)


class GuidedRun:
    """The guides of one run, fitted to what is sampled."""

    def __init__(self, guides, model, x, sigmas, extra_args):
        self.base_model = model.inner_model.inner_model
        self._model_sampling = self.base_model.model_sampling
        self._schedule = sigmas.tolist()
        self._mask = extra_args.get("denoise_mask")
        self._latent = getattr(model, "latent_image", None)
        self._part = Part(self.base_model, x)
        self._check()

        first = self._level(self._schedule[0])
        self._pure_noise = first.sigma if first.pure else None
        known = self._latent is not None and self._latent.shape == x.shape
        silent = first.began(self._latent, torch.zeros_like(x)) if known else None
        self._continued = known and torch.equal(silent, x)
        seed = extra_args.get("seed") or 0
        self.numbers = numbers_in_batch(first, self._latent, x, seed)
        self._noise = ItemNoise(item_seeds(seed, self.numbers))

        self._guides, self._shape = guides, None
        self._fit(self._part.of(x))
        self.first = self._first_level(self._part.of(x))
        self._refined = [0] * len(guides)

    def begin(self, x: Tensor) -> Tensor:
        """The state to begin with at level `first` of the schedule: x, or, where levels are left
        out, what is kept of the references, with the noise that was in x."""
        if not self.first:
            return x
        top, level = (self._level(self._schedule[i]) for i in (0, self.first))
        blank = torch.zeros_like(x)
        latent = blank if self._latent is None else self._latent.to(x)
        scale = float(top.began(torch.zeros(1, 1), torch.ones(1, 1)))
        eps = (x - top.began(latent, blank)) / scale

        clean = blank
        for refinement in self._refinements:
            if refinement.applies(level) and refinement.strength == 1:
                clean = refinement.kept(clean)
        if self._mask is not None:
            clean = latent + self._mask * (clean - latent)
        return level.noised(clean, eps).to(x.dtype)

    def call(self, model, x, sigma, *args, **kwargs):
        """The model's prediction from the state x, which is refined where a step entered it."""
        level = float(sigma.flatten()[0])
        tolerance = 2 * torch.finfo(sigma.dtype).eps * level
        entry = min(self._schedule, key=lambda s: abs(s - level))
        if abs(entry - level) <= tolerance and entry != self._pure_noise:
            self._refine_state(x, self._level(entry))
        x0 = model(x, sigma, *args, **kwargs)
        entered = next((s for s in self._schedule if s < level - tolerance), 0.0)
        return self._refine_prediction(x0, self._level(entered))

    def sampled_reference(self, x: Tensor) -> NoisedReference:
        """The latent that this run was given as the reference of states like x."""
        check_sampled(self._latent, self._continued)
        latent = self._part.of(self._latent).float().to(x.device)
        if latent.shape[-2:] != x.shape[-2:]:
            latent = resampled(latent, x.shape[-2:])
        return NoisedReference(latent)

    def reporting(self, callback):
        """The sampler's callback, told of the finished image as it will be, and of steps as they
        are counted in the whole schedule."""
        if callback is None:
            return None
        return lambda info: callback(
            {**info, "i": info["i"] + self.first, "denoised": self.finish(info["denoised"])}
        )

    def finish(self, x: Tensor) -> Tensor:
        """A finished image, with the clean reference's low frequencies; x of an unfinished run."""
        if self._schedule[-1] > 0:
            return x
        return self._each(x, lambda refinement, part: refinement.finished(part))

    def warn_if_idle(self):
        """Says why a guide refined no step of a whole run; of a part of one, nothing may be due."""
        for refinement, steps in zip(self._refinements, self._refined):
            whole = self._schedule[-1] == 0 and not self._continued
            if steps or not whole or not refinement.strength or refinement.range.end == 1000:
                continue
            if self._pure_noise and len(self._schedule) == 2:
                reason = "one step has no noise level in between; take more steps"
            elif any(refinement.applies(self._level(s)) for s in self._schedule[1:-1]):
                reason = "a node around ILVR changes the noise levels; put ILVR inside it"
            elif len(self._schedule) > 2:
                reason = "no noise level of this schedule lies in the range"
            else:
                continue
            logging.warning("ILVR refined no step: %s.", reason)

    def _refine_state(self, x, level):
        due = [r.guide == "state" and r.applies(level) for r in self._fit(self._part.of(x))]
        if any(due):
            part = self._part.of(x)
            for refinement in self._refinements:
                part = refinement.state(part, level, self._noise)
            self._part.put(x, part)
            self._count(due)

    def _refine_prediction(self, x0, level):
        due = [r.guide == "prediction" and r.applies(level) for r in self._refinements]
        if not any(due):
            return x0
        self._count(due)
        return self._each(x0, lambda refinement, part: refinement.prediction(part, level))

    def _count(self, due):
        self._refined = [steps + step for steps, step in zip(self._refined, due)]

    def _each(self, x, refine):
        """x with its part refined by every guide, inside the sampler's denoise mask."""
        part = self._part.of(x)
        mask = None if self._mask is None else self._part.of(self._mask)
        for refinement in self._fit(part):
            refined = refine(refinement, part)
            part = refined if mask is None else part + mask * (refined - part)
        return part if self._part.cut is None else self._part.put(x.clone(), part)

    def _fit(self, part):
        """The guides for states like this one, which may grow while it is sampled."""
        if part.shape != self._shape:
            self._refinements = [
                guide.refinement(self, part, self.numbers) for guide in self._guides
            ]
            self._shape = part.shape
        return self._refinements

    def _first_level(self, part):
        """Where in the schedule to begin: at 0 unless a guide decides all of the picture from a
        later level on, the lowest where several do.

        A first state that is not noise alone is left as it is, unless what it holds is what is
        followed; so is a latent with sound, of which nothing is decided.
        """
        levels = [self._level(sigma) for sigma in self._schedule[:-1]]
        begins = [
            guide.first_level(self, part, levels)
            for guide in self._guides
            if self._pure_noise or (guide.reference is None and not self._continued)
        ]
        return 0 if self._part.cut else max(begins, default=0)

    def _level(self, sigma):
        return SigmaLevel(sigma, self._model_sampling)

    def _check(self):
        if any(after > before for before, after in zip(self._schedule, self._schedule[1:])):
            raise ValueError(
                "The sigmas rise, so that noise is added; ILVR refines while noise is removed, "
                "give it falling sigmas."
            )
        kind = getattr(self.base_model, "model_type", None)
        noised = self._level(max(self._schedule)).noised(torch.zeros(1, 1), torch.ones(1, 1))
        silent = not noised.any() and max(self._schedule) > 0
        if silent or getattr(kind, "name", "").startswith("IMG_TO_IMG"):
            raise ValueError(
                "This model turns one image into another without noise, so that there is nothing "
                "to refine; use a model that generates from noise."
            )
