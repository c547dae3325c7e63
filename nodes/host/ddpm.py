"""The core's ddpm as a sampler of the host, and its respaced schedules as sigmas."""

import numpy as np
import torch
from comfy.model_sampling import CONST
from comfy.samplers import KSAMPLER
from torch import Tensor

from ...ilvr import ItemNoise, NoiseSchedule, ddpm
from ...ilvr.schedule import spaced_timesteps
from .adm_model import VARIANCE, AdmModel
from .run import run_seeds


def respaced_sigmas(model, spacing: str) -> Tensor:
    """The falling sigmas of guided-diffusion's timestep_respacing, 0 at the end."""
    table = model.get_model_object("model_sampling").sigmas.cpu()
    kept = spaced_timesteps(len(table), spacing)
    return torch.cat([table[kept].flip(0), torch.zeros(1)])


def ddpm_sampler(variance: str | None) -> KSAMPLER:
    return KSAMPLER(sample_ddpm, {"variance": variance})


def sample_ddpm(model, x, sigmas, extra_args=None, callback=None, disable=None, variance=None, **_):
    """Ancestral sampling with the core's noise; x and sigmas are variance-exploding.

    Raises ValueError for sigmas that do not end at 0, and where no learned variance is.
    """
    extra_args = extra_args or {}
    base_model = model.inner_model.inner_model
    schedule = _schedule(sigmas, base_model.model_sampling)
    if variance is None and isinstance(base_model, AdmModel):
        variance = base_model.configuration.variance
    denoiser = _Denoiser(model, schedule, extra_args)
    noise = ItemNoise(run_seeds(model, x, sigmas, extra_args))
    start = x * schedule.levels[-1].signal
    for step in ddpm(denoiser, start, schedule, noise, variance=variance, clip=False):
        left = sigmas[step.index - 1]
        if callback is not None:
            shown = {"x": step.x, "i": step.index - 1, "denoised": step.x0}
            callback({**shown, "sigma": left, "sigma_hat": left})
    return step.x


def _schedule(sigmas, model_sampling):
    if isinstance(model_sampling, CONST):
        raise ValueError(
            "DDPMSampler takes models whose noise is added to the picture, and this one (a flow "
            "model such as Flux or SD3) mixes the two; use a sampler such as euler."
        )
    if len(sigmas) < 2 or sigmas[-1] != 0 or not (sigmas[1:] < sigmas[:-1]).all():
        raise ValueError("DDPMSampler needs falling sigmas that end at 0; use RespacedScheduler.")
    rising = sigmas[:-1].flip(0).cpu().double().numpy()
    abar = 1 / (1 + rising**2)
    betas = 1 - abar / [1.0, *abar[:-1]]
    table = model_sampling.sigmas.cpu().double().numpy()
    return NoiseSchedule(betas, _timesteps(rising, table), len(table))


def _timesteps(rising, table):
    """Where sigmas stand in a table, each at a place of its own: between two entries if need be."""
    places = np.interp(np.log(rising), np.log(table), np.arange(len(table)))
    whole = places.round()
    return np.where(abs(places - whole) < 1e-3, whole, places)


class _Denoiser:
    """The host's model as the core's denoiser, in the core's space and timesteps."""

    def __init__(self, model, schedule, extra_args):
        self.model, self.levels = model, {level.t: level for level in schedule.levels}
        self.extra_args, self.variance = dict(extra_args), []
        options = dict(self.extra_args.get("model_options", {}))
        asked = {**options.get("transformer_options", {}), VARIANCE: self.variance.append}
        self.extra_args["model_options"] = {**options, "transformer_options": asked}

    def __call__(self, x, t):
        level = self.levels[t]
        self.variance.clear()
        state = x / level.signal
        sigma = torch.full((len(x),), level.sigma, device=x.device)
        denoised = self.model(state, sigma, **self.extra_args)
        x.copy_(state * level.signal)  # a guide between refines what it is handed
        eps = (state - denoised) / level.sigma
        if self.variance and [len(part) for part in self.variance] != [len(x)]:
            raise ValueError("The learned variance is that of one prediction; set cfg to 1.")
        return torch.cat([eps, *self.variance], dim=1)
