"""ILVR around a sampler of azula: Eq. 8 on the state that each of its steps gives."""

import torch
from azula.sample import DDIMSampler, DDPMSampler, EulerSampler, ItoSampler, Sampler
from torch import Tensor

from ..guidance import Refinement
from ..noise import ItemNoise
from ..schedule import CLEAN, Level


class Refined(Sampler):
    """A sampler of azula whose states get the low frequencies of a reference.

    sampler: DDPM, DDIM, Euler or Ito, or derived from one; the others call the network on states
    inside a step, or keep none. refinement: with guide "state"; its range counts azula's time in
    thousandths, 1000 = pure noise. seed: of the reference's noise, item i taking seed + i.
    Raises ValueError for other samplers and guides.
    """

    def __init__(self, sampler: Sampler, refinement: Refinement, seed: int = 0):
        if not isinstance(sampler, (DDIMSampler, DDPMSampler, EulerSampler, ItoSampler)):
            raise ValueError(
                f"{type(sampler).__name__} calls the network on states that cannot be refined; use "
                f"DDPMSampler, DDIMSampler, EulerSampler or ItoSampler."
            )
        if refinement.guide != "state":
            raise ValueError(f"guide is {refinement.guide!r}; the steps of azula take 'state'.")
        super().__init__(
            sampler.start, sampler.stop, sampler.steps, sampler.silent, sampler.dtype,
            sampler.device,
        )  # fmt: skip
        self.sampler, self.refinement, self.seed = sampler, refinement, seed
        self.denoiser = sampler.denoiser

    @property
    def timesteps(self) -> Tensor:
        return self.sampler.timesteps

    def step(self, x_t: Tensor, t: Tensor, s: Tensor, **kwargs) -> Tensor:
        """(B, C, ...) at time s, refined there."""
        x_s = self.sampler.step(x_t, t, s, **kwargs)
        noise = ItemNoise(range(self.seed, self.seed + len(x_s)))
        return self.refinement.state(x_s, self._level(s), noise)

    def _level(self, s):
        if not s:
            return CLEAN
        signal, noise = (float(torch.as_tensor(value)) for value in self.denoiser.schedule(s))
        return Level(1000 * float(s), signal, noise)
