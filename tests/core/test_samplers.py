"""Samplers on a denoiser whose answer is known: pixels drawn from N(0, VARIANCE)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ilvr import ItemNoise, LowPassFilter, NoisedReference, Refinement, ddim, ddpm, dpmpp_2m, sample
from ilvr.guidance import ConditioningRange
from ilvr.samplers import steps
from ilvr.schedule import CLEAN, NoiseSchedule

from .tiny import CONFIGURATIONS, model

VARIANCE = 0.25
SCHEDULE = NoiseSchedule.linear()
LEVELS = {level.t: level for level in SCHEDULE.levels}
SIGMAS = np.log([level.sigma for level in SCHEDULE.levels])
TIMES = [level.t for level in SCHEDULE.levels]


def gaussian(x, t):
    """E[eps | x_t] for x_0 ~ N(0, VARIANCE) in every pixel."""
    sigma = np.exp(np.interp(t, TIMES, SIGMAS))
    signal = 1 / np.sqrt(1 + sigma**2)
    noise = sigma * signal
    return x * noise / (signal**2 * VARIANCE + noise**2)


def start(count=1, size=16):
    return ItemNoise(range(count)).draw("start", 1000, torch.empty(count, 3, size, size))


def finish(iterator):
    return list(iterator)[-1].x


def exact(x):
    """The probability flow from x_T to x_0 keeps x_t / std_t."""
    top = SCHEDULE.levels[-1]
    return x * np.sqrt(VARIANCE / (top.signal**2 * VARIANCE + top.noise**2))


def test_ddim_and_dpmpp_2m_converge_to_the_probability_flow():
    x, noise = start(), ItemNoise([0])
    errors = {}
    for count in (25, 50, 100):
        levels = SCHEDULE.karras(count)
        for sampler in (ddim, dpmpp_2m):
            out = finish(sampler(gaussian, x, levels, noise, clip=False))
            errors[sampler, count] = ((out - exact(x)).norm() / exact(x).norm()).item()
    for count in (25, 50):  # halving the steps: errors fall 2 and 4 times
        assert 1.7 < errors[ddim, count] / errors[ddim, 2 * count] < 2.4
        assert 3.2 < errors[dpmpp_2m, count] / errors[dpmpp_2m, 2 * count] < 5.5
    assert errors[dpmpp_2m, 100] < 2e-3


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm_samples_the_prior(variance):
    x, noise = start(4, 32), ItemNoise(range(4))
    out = finish(ddpm(gaussian, x, SCHEDULE, noise, variance=variance, clip=False))
    assert abs(out.var() / VARIANCE - 1) < 0.08
    assert abs(out.mean()) < 0.03


def test_ddim_with_eta_one_has_the_variance_of_ddpm():
    x, noise, short = start(), ItemNoise([0]), SCHEDULE.respaced(20)
    a = finish(ddim(gaussian, x, short.descending, noise, eta=1.0, clip=False))
    b = finish(ddpm(gaussian, x, short, noise, variance="small", clip=False))
    assert (a - b).abs().max() < 1e-4


@pytest.mark.parametrize(
    "range", [ConditioningRange(), ConditioningRange(1000, 500), ConditioningRange(800, 200)]
)
def test_ilvr_is_algorithm_1_of_the_paper(range):
    """Against a plain loop written from the paper: propose by Eq. 5, refine by Eq. 8."""
    x, noise, phi = start(2), ItemNoise([0, 1]), LowPassFilter(4, exact=False)
    y = 0.5 * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    refinement = Refinement(NoisedReference(y), phi, range)
    out = finish(ddpm(gaussian, x, SCHEDULE, noise, refinement, variance="large", clip=False))

    abar = np.concatenate([[1.0], np.cumprod(1 - SCHEDULE.betas)])
    for t in reversed(np.arange(1, 1001)):
        beta, before = SCHEDULE.betas[t - 1], abar[t - 1]
        eps = gaussian(x, float(t))
        proposal = (x - beta / np.sqrt(1 - abar[t]) * eps) / np.sqrt(1 - beta)
        if t > 1:
            proposal = proposal + np.sqrt(beta) * noise.draw("sampler", t - 1, x)
        x = proposal
        if range.start >= t - 1 >= range.end:
            eps = noise.draw("reference", t - 1, y)
            noised = np.sqrt(before) * y + np.sqrt(1 - before) * eps
            x = phi(noised) + proposal - phi(proposal)
    assert (out - x.float()).abs().max() < 1e-4


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m"])
@pytest.mark.parametrize("guide", ["state", "prediction"])
def test_low_frequencies_are_the_references(sampler, guide):
    tiny = model(CONFIGURATIONS["unconditional"])
    y = 0.3 * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    phi = LowPassFilter(4)
    refinement = Refinement(NoisedReference(y), phi, guide=guide)
    out = sample(tiny, [0, 1], refinement, sampler=sampler, steps=8)
    assert (phi(out) - phi(y)).abs().max() < 1e-5
    assert (out - y).abs().max() > 0.1
    unguided = sample(tiny, [0, 1], sampler=sampler, steps=8)
    empty = Refinement(NoisedReference(y), phi, ConditioningRange(1000, 1000), guide)
    assert torch.equal(sample(tiny, [0, 1], empty, sampler=sampler, steps=8), unguided)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m"])
def test_reruns_are_equal_and_batches_make_no_difference(sampler):
    tiny = model(CONFIGURATIONS["unconditional"])
    y = 0.3 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    refinement = Refinement(NoisedReference(y), LowPassFilter(4))
    settings = {"sampler": sampler, "steps": 8, "eta": 0.5}
    batch = sample(tiny, [5, 6, 7], refinement, **settings)
    assert torch.equal(batch, sample(tiny, [5, 6, 7], refinement, **settings))
    for i, seed in enumerate([5, 6, 7]):
        alone = sample(tiny, [seed], refinement, **settings)
        assert (batch[i] - alone[0]).abs().max() < 1e-4


def test_a_sampler_stops_between_steps():
    calls = []

    def counted(x, t):
        calls.append(t)
        return gaussian(x, t)

    iterator = ddpm(counted, start(), SCHEDULE, ItemNoise([0]))
    step = next(iterator)
    assert (step.index, step.total, step.level.t) == (1, 1000, 999)
    next(iterator)
    iterator.close()
    assert calls == [1000, 999]


def test_clipping_bounds_the_predicted_image():
    x, noise = 3000 * start(), ItemNoise([0])
    for clip in (True, False):
        first = next(ddim(gaussian, x, SCHEDULE.descending, noise, clip=clip))
        assert (first.x0.abs().max() <= 1) == clip


def test_the_last_level_is_the_finished_image():
    tiny = model(CONFIGURATIONS["unconditional"])
    for sampler in ("ddpm", "ddim", "dpmpp_2m"):
        done = list(steps(tiny, [0], sampler=sampler, steps=5))
        assert [step.index for step in done] == [1, 2, 3, 4, 5]
        assert done[-1].level == CLEAN
        assert torch.allclose(done[-1].x, done[-1].x0, atol=1e-6)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"sampler": "euler"}, "choose one of dpmpp_2m, ddim, ddpm"),
        ({"steps": 0}, "from 1 to 1000"),
        ({"sampler": "ddpm", "steps": 1001}, "1001 steps do not fit"),
        ({"steps": 5, "respacing": "5"}, "give one of them"),
        ({"spacing": "log"}, "karras or uniform"),
        ({"eta": 1.5}, "eta is 1.5; a number from 0 to 1"),
        ({"eta": float("nan")}, "eta is nan"),
        ({"label": 1}, "this model has no classes"),
        ({"respacing": "x"}, "Respacing 'x'"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_first_step(settings, message):
    with pytest.raises(ValueError, match=message):
        steps(model(CONFIGURATIONS["unconditional"]), [0], **settings)


def test_variance_must_be_there():
    fixed = model(CONFIGURATIONS["fixed_variance"])
    with pytest.raises(ValueError, match="no learned variance"):
        sample(fixed, [0], sampler="ddpm", steps=3, variance="learned")
    assert sample(fixed, [0], sampler="ddpm", steps=3).isfinite().all()
    with pytest.raises(ValueError, match="small, large or learned"):
        sample(fixed, [0], sampler="ddpm", steps=3, variance="tiny")


@pytest.mark.parametrize("label", [None, -1, 7])
def test_a_conditional_model_needs_a_label_of_its_own(label):
    with pytest.raises(ValueError, match="needs one from 0 to 6"):
        steps(model(CONFIGURATIONS["conditional_new_order"]), [0], label=label)
    tiny = model(CONFIGURATIONS["conditional_new_order"])
    a, b = (sample(tiny, [0], label=label, steps=2) for label in (0, 6))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("sigma_small", [False, True])
def test_a_fixed_variance_is_the_one_of_the_models_project(sigma_small):
    configuration = replace(CONFIGURATIONS["fixed_variance"], sigma_small=sigma_small)
    options = {"sampler": "ddpm", "steps": 3}
    taken = sample(model(configuration), [0], **options)
    variances = ("small", "large") if sigma_small else ("large", "small")
    named = [sample(model(configuration), [0], variance=name, **options) for name in variances]
    assert torch.equal(taken, named[0]) and not torch.equal(taken, named[1])
