"""The core's ddpm as a sampler of the host, and its respaced schedules as sigmas."""

import torch
from comfy.samplers import KSAMPLER
from torch import Tensor

from ...ilvr import ItemNoise, NoiseSchedule, ddpm
from ...ilvr.schedule import spaced_timesteps
from .pixel_model import VARIANCE


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
    schedule = _schedule(sigmas, model.inner_model.inner_model.model_sampling)
    denoiser = _Denoiser(model, schedule, extra_args)
    seed = extra_args.get("seed") or 0
    noise = ItemNoise(range(seed, seed + len(x)))
    start = x * schedule.levels[-1].signal
    for step in ddpm(denoiser, start, schedule, noise, variance=variance, clip=False):
        left = sigmas[step.index - 1]
        if callback is not None:
            shown = {"x": step.x, "i": step.index - 1, "denoised": step.x0}
            callback({**shown, "sigma": left, "sigma_hat": left})
    return step.x


def _schedule(sigmas, model_sampling):
    if len(sigmas) < 2 or sigmas[-1] != 0 or not (sigmas[1:] < sigmas[:-1]).all():
        raise ValueError("DDPMSampler needs falling sigmas that end at 0; use RespacedScheduler.")
    rising = sigmas[:-1].flip(0)
    abar = (1 / (1 + rising.double() ** 2)).cpu().numpy()
    betas = 1 - abar / [1.0, *abar[:-1]]
    timesteps = model_sampling.timestep(rising).cpu().numpy()
    return NoiseSchedule(betas, timesteps, len(model_sampling.sigmas))


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
