"""ILVR around any of the host's samplers.

A sampler hands its own state x to the network. The proxy in between refines x in place, so that
the sampler goes on from the refined state, whatever its update rule. Its noise schedule, its
history and its own noise stay as they are.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from comfy.patcher_extension import WrappersMP
from comfy.samplers import KSAMPLER
from torch import Tensor

from ...ilvr import ConditioningRange, ItemNoise, LowPassFilter, NoisedReference, Refinement
from .latents import pixels_a_cell, sampled_reference
from .reference import EncodedReference

# Functions that work on a copy of the state, restart from an older one, or leave the schedule.
NO_STATE = {
    "sample_unipc": "uni_pc",
    "sample_unipc_bh2": "uni_pc_bh2",
    "sample_sa_solver": "sa_solver",
    "sample_sa_solver_pece": "sa_solver_pece",
    "sample_dpm_fast": "dpm_fast",
    "dpm_fast_function": "dpm_fast",
    "sample_dpm_adaptive": "dpm_adaptive",
    "dpm_adaptive_function": "dpm_adaptive",
    "sample_ar_video": "ar_video",
}
FULL_NOISE = 1 - 1e-5  # of sigma_max: from here on the host takes a state for pure noise


@dataclass(frozen=True)
class Guide:
    """One reference and how it is followed: the settings of an ILVR node.

    reference: None follows the latent that is sampled, in each run its own.
    """

    reference: EncodedReference | None
    low_pass: LowPassFilter
    range: ConditioningRange
    guide: str = "state"
    strength: float = 1.0

    def __post_init__(self):
        self._refinement(None, 1, self.range)  # says what can't be followed before a run begins
        if self.reference is not None:
            self._refuse_the_reference_itself(self.reference.compression, self.reference.mask)

    def refinement(self, run: "GuidedRun", x: Tensor) -> Refinement:
        """The core's refinement for states like x, the first of a run."""
        sigmas = SigmaRange(self.range, run.model_sampling)
        if self.reference is not None:
            reference = self.reference.fitted(run.base_model, x)
            return self._refinement(reference, self.reference.compression, sigmas)
        cell = pixels_a_cell(run.base_model.latent_format)
        self._refuse_the_reference_itself(cell)
        return self._refinement(run.sampled_reference(x), cell, sigmas)

    def _refinement(self, reference, cell, range):
        factor = max(1.0, self.low_pass.factor / cell)
        low_pass = LowPassFilter(factor, self.low_pass.kernel, self.low_pass.exact)
        return Refinement(reference, low_pass, range, self.guide, self.strength)

    def _refuse_the_reference_itself(self, cell, mask=None):
        factor = self.low_pass.factor
        free = mask is not None or self.range.end > 0 or self.strength < 1
        if factor > cell or free:
            return
        if cell > 1:
            raise ValueError(
                f"Factor {factor:g} is no more than the {cell:g} pixels of a latent cell, so that "
                f"the result would be the reference itself; use a factor of {2 * cell:g} or more, "
                f"end the range above 0, or give a mask."
            )
        logging.warning("ILVR: with factor 1 the result is the reference itself.")


class SigmaRange:
    """A ConditioningRange for one model: contains 1000 sigma, the `t` of a SigmaLevel."""

    def __init__(self, range: ConditioningRange, model_sampling):
        def sigma(t):
            if t in (0, 1000):
                return math.inf if t else 0.0
            return float(model_sampling.percent_to_sigma(1 - t / 1000))

        self.high, self.low = 1000 * sigma(range.start), 1000 * sigma(range.end)

    def __contains__(self, t: float) -> bool:
        return self.high * (1 + 1e-6) >= t >= self.low * (1 - 1e-6)


class SigmaLevel:
    """A noise level of the host, which knows by itself how its model is noised."""

    def __init__(self, sigma: float, model_sampling):
        self.sigma, self.t, self.model_sampling = sigma, 1000 * sigma, model_sampling

    def noised(self, clean: Tensor, eps: Tensor) -> Tensor:
        sigma = torch.tensor([self.sigma], device=clean.device)
        return self.model_sampling.noise_scaling(sigma, eps, clean, False)


def guided(sampler: KSAMPLER, guide: Guide) -> KSAMPLER:
    """The host's sampler with a guide added; the last one added is applied last.

    Raises ValueError for a sampler that has no function to run, or no state to refine.
    """
    function = getattr(sampler, "sampler_function", None)
    if not isinstance(sampler, KSAMPLER) or function is None:
        raise ValueError(
            f"A {type(sampler).__name__} runs its steps by itself, so that ILVR can't refine "
            f"between them; use a sampler such as KSamplerSelect gives."
        )
    if not isinstance(function, GuidedFunction):
        function = GuidedFunction(function)
    function = function.with_guide(guide)
    return KSAMPLER(function, sampler.extra_options, sampler.inpaint_options)


def apply(model, guide: Guide):
    """A clone of the host's model patcher whose every sampler is guided."""

    def swap(executor, noise, latent_image, sampler, *args, **kwargs):
        return executor(noise, latent_image, guided(sampler, guide), *args, **kwargs)

    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "ilvr", swap)
    return model


@dataclass(frozen=True)
class GuidedFunction:
    """A sampler function of the host under guides. It holds nothing of a run."""

    base: Callable
    guides: tuple[Guide, ...] = ()

    def with_guide(self, guide: Guide) -> "GuidedFunction":
        name = NO_STATE.get(getattr(self.base, "__name__", ""))
        if name and guide.guide == "state":
            raise ValueError(
                f"{name} keeps no state that ILVR could refine; use guide = prediction, or "
                f"another sampler."
            )
        return GuidedFunction(self.base, (*self.guides, guide))

    def __call__(self, model, x, sigmas, extra_args=None, **options):
        run = GuidedRun(self.guides, model, x, sigmas, extra_args or {})
        x = self.base(run, x, sigmas.clone(), extra_args=extra_args, **options)
        run.warn_if_idle()
        return run.finish(x)


class GuidedRun:
    """One run: stands in for the model that the sampler calls, and refines on the way."""

    def __init__(self, guides, model, x, sigmas, extra_args):
        self._model = model
        self.base_model = model.inner_model.inner_model
        self.model_sampling = self.base_model.model_sampling
        self._schedule = sigmas.tolist()
        self._noise_mask = extra_args.get("denoise_mask")
        self._check(x)
        self._noise = ItemNoise(range(seed := extra_args.get("seed") or 0, seed + len(x)))
        self._refinements = [guide.refinement(self, x) for guide in guides]
        self._refined = [0] * len(guides)
        full = self._schedule[0] >= float(self.model_sampling.sigma_max) * FULL_NOISE
        self._pure_noise = self._schedule[0] if full else None

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __call__(self, x, sigma, **kwargs):
        level = float(sigma.flatten()[0])
        tolerance = 2 * torch.finfo(sigma.dtype).eps * level
        entry = min(self._schedule, key=lambda s: abs(s - level))
        if abs(entry - level) <= tolerance and entry != self._pure_noise:
            self._refine_state(x, self._level(entry))
        x0 = self._model(x, sigma, **kwargs)
        entered = next((s for s in self._schedule if s < level - tolerance), 0.0)
        return self._refine_prediction(x0, 1000 * entered, kwargs.get("denoise_mask"))

    def sampled_reference(self, x: Tensor) -> NoisedReference:
        """The latent that this run samples, as the reference of its states, of which x is the
        first."""
        latent = getattr(self._model, "latent_image", None)
        silent = x if latent is None else self._level(self._schedule[0]).noised(latent, 0 * latent)
        return sampled_reference(latent, x, silent)

    def finish(self, x: Tensor) -> Tensor:
        """What the sampler returned, refined by the clean reference where it is finished."""
        if self._schedule[-1] > 0:
            return x
        for refinement in self._refinements:
            refined = refinement.state(x, self._level(0.0), self._noise)
            x = _inside(self._noise_mask, refined, x)
        return x

    def warn_if_idle(self):
        for refinement, steps in zip(self._refinements, self._refined):
            if steps or refinement.range.low == math.inf:
                continue
            inside = [s for s in self._schedule[1:-1] if 1000 * s in refinement.range]
            reason = (
                "a node around ILVR changes the noise levels; put ILVR inside it"
                if inside
                else "no noise level of this schedule lies in the range"
            )
            logging.warning("ILVR refined no step: %s.", reason)

    def _refine_state(self, x, level):
        for i, refinement in enumerate(self._refinements):
            refined = refinement.state(x, level, self._noise)
            if refined is not x:
                x.copy_(refined)
                self._refined[i] += 1

    def _refine_prediction(self, x0, t, mask):
        for i, refinement in enumerate(self._refinements):
            refined = refinement.prediction(x0, t)
            self._refined[i] += refined is not x0
            x0 = _inside(mask, refined, x0)
        return x0

    def _level(self, sigma):
        return SigmaLevel(sigma, self.model_sampling)

    def _check(self, x):
        if x.ndim not in (4, 5):
            raise ValueError(
                f"This latent has shape {tuple(x.shape)}, which is no picture or video: ILVR can't "
                f"guide sound, or sound and video packed together; sample the video alone."
            )
        if any(after > before for before, after in zip(self._schedule, self._schedule[1:])):
            raise ValueError(
                "The sigmas rise, so that noise is added; ILVR refines while noise is removed, "
                "give it falling sigmas."
            )
        noised = self._level(max(self._schedule)).noised(torch.zeros(1, 1), torch.ones(1, 1))
        if not noised.any() and max(self._schedule) > 0:
            raise ValueError(
                "This model turns one image into another without noise, so that there is nothing "
                "to refine; use a model that generates from noise."
            )


def _inside(mask, refined, x):
    """The refined tensor inside the sampler's denoise mask, x outside it."""
    return refined if mask is None or refined is x else x + mask * (refined - x)
