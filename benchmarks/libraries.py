"""ILVR beside what libraries have, on the bundled model: `python -m benchmarks.libraries`.

Every method gets the same held-out renders, downsampled by N = 8, and as many calls of the same
network on deterministic DDIM:

- ILVR, the paper's: the state. In the core, and around azula's sampler.
- DDNM, the null space: the prediction's low frequencies are the reference's at every step.
- DiffPIR as azula has it: the prediction is pulled towards the measurement by a linear solver.
- what deepinv calls ILVR: a step along a gradient of the state's mismatch.

Agreement and the Frechet distance are those of quality.py. Needs azula and deepinv.
"""

import argparse
import math
import time

import azula.denoise
import azula.guidance
import azula.noise
import azula.sample
import deepinv
import numpy as np
import torch

import ilvr
from ilvr.adapters.azula import Refined
from tooling.frechet import distance, features
from tooling.pictures import pictures, psnr

FACTOR, SEED, BATCH = 8, 0, 16
LOW_PASS = ilvr.LowPassFilter(FACTOR)


class Network:
    """The bundled model as a denoiser of x0 + sigma eps; counts the images it is called on."""

    def __init__(self):
        model = ilvr.load("landscapes-64")
        self.schedule, self.denoiser, self.calls = model.schedule, model.denoiser(), 0
        self.sigmas = [level.sigma for level in model.schedule.levels]
        self.ts = [level.t for level in model.schedule.levels]

    def eps(self, x, t):
        self.calls += len(x)
        return self.denoiser(x.float(), t)[:, :3]

    def clean(self, x, sigma):
        sigma = min(max(sigma, self.sigmas[0]), self.sigmas[-1])
        t = float(np.interp(math.log(sigma), np.log(self.sigmas), self.ts))
        eps = self.eps(x / math.sqrt(1 + sigma**2), t)
        return (x - sigma * eps).clamp(-1, 1)


class Schedule(azula.noise.Schedule):
    """The model's own: time is the paper's timestep in thousandths."""

    def __init__(self, network):
        super().__init__()
        self.ts, self.log_sigmas = [t / 1000 for t in network.ts], np.log(network.sigmas)

    def forward(self, t):
        sigma = torch.tensor(np.exp(np.interp(float(t), self.ts, self.log_sigmas)))
        alpha = (1 + sigma**2).rsqrt()
        return alpha.float(), (sigma * alpha).float()

    __call__ = forward


class OfAzula(azula.denoise.Denoiser):
    def __init__(self, network):
        super().__init__()
        self.network, self.schedule = network, Schedule(network)

    def forward(self, x_t, t, **kwargs):
        alpha, sigma = self.schedule(t)
        return azula.denoise.DiracPosterior(
            mean=self.network.clean(x_t / alpha, float(sigma / alpha))
        )


class OfDeepinv(deepinv.models.Denoiser):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, sigma, *args, **kwargs):
        return self.network.clean(x, float(torch.as_tensor(sigma).flatten()[0])).to(x)


def core(network, y, seeds, steps, guide):
    refinement = ilvr.Refinement(ilvr.NoisedReference(y), LOW_PASS, guide=guide)
    noise, levels = ilvr.ItemNoise(seeds), network.schedule.respaced(steps).descending
    x = noise.draw("start", 1000, y)
    for step in ilvr.ddim(network.eps, x, levels, noise, refinement):
        pass
    return step.x


def around_azula(network, y, seeds, steps):
    refinement = ilvr.Refinement(ilvr.NoisedReference(y), LOW_PASS)
    sampler = azula.sample.DDIMSampler(OfAzula(network), steps=steps, silent=True)
    start = ilvr.ItemNoise(seeds).draw("start", 1000, y)
    return Refined(sampler, refinement, seeds[0])(start)


def diffpir(network, y, seeds, steps):
    measured = LOW_PASS.down(y)
    denoiser = azula.guidance.DiffPIRDenoiser(
        OfAzula(network), measured, LOW_PASS.down, var_y=1e-3, lmbda=1.0, iterations=4
    )
    sampler = azula.sample.DDIMSampler(denoiser, steps=steps, silent=True)
    return sampler(ilvr.ItemNoise(seeds).draw("start", 1000, y))


def deepinv_ilvr(network, y, seeds, steps):
    physics = deepinv.physics.LinearPhysics(
        A=lambda x, **kwargs: LOW_PASS.down(x), img_size=tuple(y.shape[1:])
    )
    solved = inverse(y.shape[-1])
    physics.A_dagger = lambda small, **kwargs: (solved.T @ small.float() @ solved).to(small.dtype)
    times = torch.linspace(1, 1e-3, steps)
    model = deepinv.sampling.PosteriorDiffusion(
        data_fidelity=deepinv.sampling.ILVRDataFidelity(),
        denoiser=OfDeepinv(network),
        sde=deepinv.sampling.VariancePreservingDiffusion(),
        solver=deepinv.sampling.DDIMSolver(timesteps=times),
        dtype=torch.float32,
        minus_one_one=False,
    )
    start = ilvr.ItemNoise(seeds).draw("start", 1000, y)
    return model(LOW_PASS.down(y), physics, x_init=start)


def inverse(size):
    """(m, size): the pseudo-inverse of the downsampling of one axis, transposed."""
    rows = torch.eye(size)[:, None, :].expand(-1, size, -1)  # each a picture of equal lines
    return torch.linalg.pinv(LOW_PASS.down(rows)[:, 0])


METHODS = {
    "ILVR": lambda *given: core(*given, "state"),
    "ILVR around azula's DDIM": around_azula,
    "DDNM (null space)": lambda *given: core(*given, "prediction"),
    "azula's DiffPIR": diffpir,
    "deepinv's ILVR": deepinv_ilvr,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=64, help="references [64]")
    parser.add_argument("--steps", type=int, default=25, help="of DDIM [25]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, references = Network(), pictures(0, options.count)
    real = features(pictures(10_000, 2000))
    own = distance(features(references), real)
    print(f"{options.count} references, N = {FACTOR}, {options.steps} steps; renders: {own:.3f}")
    print("| method | agreement, dB | in 8 bits, dB | Frechet distance | calls | s an image |")
    print("|---|---|---|---|---|---|")
    for name, method in METHODS.items():
        network.calls, began = 0, time.process_time()
        made = [
            method(network, y, list(range(BATCH * i, BATCH * i + len(y))), options.steps).float()
            for i, y in enumerate(references.split(BATCH))
        ]
        seconds = (time.process_time() - began) / options.count
        x = torch.cat(made)
        cells = [psnr(x, references, FACTOR), psnr(ilvr.image.seen(x), references, FACTOR)]
        row = [name, *(f"{cell:.0f}" for cell in cells), f"{distance(features(x), real):.3f}"]
        print("|", " | ".join([*row, f"{network.calls / options.count:g}", f"{seconds:.2f}"]), "|")


if __name__ == "__main__":
    main()
