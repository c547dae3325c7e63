"""L_hybrid of Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021."""

import math

import numpy as np
import torch
import torch.nn.functional as F


class Posterior:
    """The schedule's per-step constants as float32 tensors (T,), index 0 = the cleanest step."""

    def __init__(self, schedule, device):
        abar, betas = schedule.abar, schedule.betas
        before = np.concatenate([[1.0], abar[:-1]])
        variance = betas * (1 - before) / (1 - abar)
        variance[0] = variance[1]  # 0 otherwise; as in guided-diffusion

        def table(values):
            return torch.tensor(values, dtype=torch.float32, device=device)

        self.signal, self.noise = table(np.sqrt(abar)), table(np.sqrt(1 - abar))
        self.log_beta, self.log_variance = table(np.log(betas)), table(np.log(variance))
        self.clean_share = table(betas * np.sqrt(before) / (1 - abar))
        self.noisy_share = table((1 - before) * np.sqrt(1 - betas) / (1 - abar))

    def mean(self, clean, noisy, t):
        """Mean of q(x_{t-1} | x_t, x_0), (B, C, H, W)."""
        return at(self.clean_share, t) * clean + at(self.noisy_share, t) * noisy


def at(table, t):
    """(T,), (B,) steps -> (B, 1, 1, 1)."""
    return table[t][:, None, None, None]


def sample_steps(count, length, high_noise, device):
    """(count,) steps, uniform, save that a share `high_noise` comes from the noisier half."""
    steps = torch.randint(length, (count,), device=device)
    upper = torch.randint(length // 2, length, (count,), device=device)
    return torch.where(torch.rand(count, device=device) < high_noise, upper, steps)


def varied(eps, t, jitter):
    """Noise (B, C, H, W) whose amplitude varies above t = 350, and whose mean does above t = 900.

    A narrow network's GroupNorm, with one or two channels a group at full size, hides both from
    it; where they vary it learns to see them. At those levels they say next to nothing of x_0.
    """
    amplitude = 1 + jitter * torch.randn(len(t), 1, 1, 1, device=eps.device)
    offset = jitter / 2 * torch.randn(*eps.shape[:2], 1, 1, device=eps.device)
    loud, loudest = ((t > limit)[:, None, None, None] for limit in (350, 900))
    return torch.where(loud, amplitude, 1.0) * eps + torch.where(loudest, offset, 0.0)


def simple(eps, predicted):
    """Squared error of the noise prediction, (B,)."""
    return (eps - predicted).square().mean(dim=(1, 2, 3))


def coarse(eps, predicted):
    """Squared error of the noise prediction's mean over the image and over its 16ths, (B,).

    Colour and layout, which `simple` hardly sees: they are one part in H W of the noise, and 16.
    """
    error = eps - predicted
    return sum(F.adaptive_avg_pool2d(error, n).square().mean(dim=(1, 2, 3)) for n in (1, 4))


def bound(posterior, clean, noisy, predicted, v, t):
    """The variational bound's term at t in bits per dimension, (B,); its gradient reaches v only.

    v in [-1, 1] interpolates log variances from the posterior's to beta. (B, C, H, W), (B,) steps.
    """
    estimate = (noisy - at(posterior.noise, t) * predicted.detach()) / at(posterior.signal, t)
    mean = posterior.mean(estimate, noisy, t)
    true, true_log = posterior.mean(clean, noisy, t), at(posterior.log_variance, t)
    log_variance = torch.lerp(true_log, at(posterior.log_beta, t), (v + 1) / 2)
    ratio = torch.exp(true_log - log_variance)
    kl = (log_variance - true_log + ratio - 1 + (true - mean) ** 2 * torch.exp(-log_variance)) / 2
    nll = -log_likelihood(clean, mean, log_variance / 2)
    first = (t == 0)[:, None, None, None]
    return torch.where(first, nll, kl).mean(dim=(1, 2, 3)) / math.log(2)


def log_likelihood(clean, mean, log_scale):
    """log P of 8-bit values `clean` in [-1, 1] under a Gaussian cut into 256 bins."""

    def below(edge):
        z = (edge - mean) * torch.exp(-log_scale)
        return torch.special.ndtr(z)

    high = torch.where(clean > 0.999, 1.0, below(clean + 1 / 255))
    low = torch.where(clean < -0.999, 0.0, below(clean - 1 / 255))
    return torch.log((high - low).clamp(min=1e-12))


def importance(posterior, t, power):
    """(B,) weights (1 / SNR) ** power, at least 1: large noise is where layout and colour form.

    With power 0 every step counts the same, L_simple.
    """
    return (posterior.noise[t] / posterior.signal[t]).clamp(min=1) ** (2 * power)
