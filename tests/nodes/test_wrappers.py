"""The ways in which other people's nodes wrap, call and change samplers."""

import functools
import inspect
import logging

import comfy.samplers
import pytest
import torch
from comfy.k_diffusion import sampling

from .host import (
    ModelType,
    core,
    gaussian,
    ilvr,
    low_pass,
    noise,
    picture,
    reference,
    sample,
    sigmas,
)
from .test_sampler import IMAGE, clean

KSAMPLER = comfy.samplers.KSAMPLER


def hand_over(model, x, sigmas, wrapped=None, **options):
    """A sampler function as nodes make one that wraps a sampler given as an option."""
    return wrapped.sampler_function(model, x, sigmas, **options, **wrapped.extra_options)


def closed_over(inner):
    def function(model, x, sigmas, **options):
        return inner(model, x, sigmas, **options)

    return function


def decorated(inner):
    @functools.wraps(inner)
    def function(*args, **options):
        return inner(*args, **options)

    return function


UNIPC = comfy.samplers.sampler_object("uni_pc").sampler_function
WRAPPED = {
    "in options": KSAMPLER(hand_over, {"wrapped": comfy.samplers.sampler_object("uni_pc")}),
    "partial": KSAMPLER(functools.partial(UNIPC)),
    "partial of a wrapper": KSAMPLER(
        functools.partial(hand_over, wrapped=comfy.samplers.sampler_object("uni_pc"))
    ),
    "closure": KSAMPLER(closed_over(UNIPC)),
    "closure over a sampler": KSAMPLER(
        closed_over(functools.partial(hand_over, wrapped=comfy.samplers.sampler_object("uni_pc")))
    ),
    "decorator": KSAMPLER(decorated(UNIPC)),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_a_sampler_without_a_state_is_found_inside_a_wrapper(how):
    with pytest.raises(ValueError, match="uni_pc keeps no state"):
        ilvr(WRAPPED[how], guide="state")
    model, phi = gaussian(), core.LowPassFilter(4)
    got = sample(model, ilvr(WRAPPED[how], guide="prediction"), sigmas(model))
    assert (phi(got) - phi(clean())).abs().max() < 1e-4


@pytest.mark.parametrize("how", ["in options", "partial", "closure", "decorator"])
def test_a_wrapped_euler_is_euler(how, caplog):
    euler = comfy.samplers.sampler_object("euler")
    sampler = {
        "in options": KSAMPLER(hand_over, {"wrapped": euler}),
        "partial": KSAMPLER(functools.partial(sampling.sample_euler, s_noise=1.0)),
        "closure": KSAMPLER(closed_over(sampling.sample_euler)),
        "decorator": KSAMPLER(decorated(sampling.sample_euler)),
    }[how]
    model = gaussian()
    with caplog.at_level(logging.WARNING):
        got = sample(model, ilvr(sampler), sigmas(model))
    assert torch.equal(got, sample(model, ilvr("euler"), sigmas(model)))
    assert not caplog.records


def from_a_clone(model, x, sigmas, extra_args=None, callback=None, disable=None, eta=0.5):
    """Steps from a copy of the state, as samplers of other packs do."""
    for a, b in zip(sigmas, sigmas[1:]):
        x0 = model(x.clone(), a * x.new_ones([len(x)]), **extra_args)
        if callback is not None:
            callback({"x": x, "i": 0, "sigma": a, "sigma_hat": a, "denoised": x0})
        x = x0 + (x - x0) * b / a
    return x


def test_a_sampler_that_is_not_the_hosts_is_named_once_with_guide_prediction(caplog):
    model, sampler = gaussian(), KSAMPLER(from_a_clone)
    with caplog.at_level(logging.WARNING):
        ilvr(sampler)
        ilvr(sampler)
    (record,) = caplog.records
    assert "from_a_clone is not one of ComfyUI's own" in record.message
    assert "set guide to prediction" in record.message
    caplog.clear()
    phi, part = core.LowPassFilter(4), core.ConditioningRange(1000, 300)
    got = sample(model, ilvr(sampler, guide="prediction"), sigmas(model, 20))
    assert (phi(got) - phi(clean())).abs().max() < 1e-4
    off = [
        (phi(sample(model, s, sigmas(model, 20))) - phi(clean())).square().mean().sqrt()
        for s in (sampler, ilvr(sampler, guide="prediction", range=part))
    ]
    assert off[1] < 0.8 * off[0]
    assert not caplog.records


def test_name_signature_and_options_are_those_of_the_base():
    function = ilvr(KSAMPLER(from_a_clone), guide="prediction").sampler_function
    assert function.__name__ == "from_a_clone"
    assert "eta" in inspect.signature(function).parameters
    assert ilvr().sampler_function.__name__ == "sample_euler"
    euler = functools.partial(sampling.sample_euler)
    assert ilvr(KSAMPLER(euler)).sampler_function.__name__ == "sample_euler"
    model, start = gaussian(), noise(1, 3, 32, 32)
    seen = {}

    def positional(model, x, sigmas, **options):
        seen.update(options)
        inner = ilvr().sampler_function
        return inner(model, x, sigmas, options["extra_args"], options["callback"], True)

    got = sample(model, KSAMPLER(positional), sigmas(model), start=start)
    assert torch.equal(got, sample(model, ilvr(), sigmas(model), start=start))


class Counting(KSAMPLER):
    """A subclass with a `sample` of its own that hands over to the function."""

    calls = 0

    def sample(self, *args, **kwargs):
        type(self).calls += 1
        return super().sample(*args, **kwargs)


class Alone(KSAMPLER):
    """A subclass whose `sample` never runs its function."""

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, *_, **__):
        return latent_image


def test_a_subclass_is_kept_or_refused():
    model = gaussian()
    sampler = Counting(sampling.sample_euler)
    got = sample(model, ilvr(sampler), sigmas(model))
    assert Counting.calls == 1 and torch.equal(got, sample(model, ilvr(), sigmas(model)))
    assert type(ilvr(sampler)) is Counting and sampler.sampler_function is sampling.sample_euler
    with pytest.raises(ValueError, match="A Alone runs its steps by itself"):
        ilvr(Alone(sampling.sample_euler))


def test_attributes_set_through_the_wrapper_reach_the_model():
    def setting(model, x, sigmas, **options):
        model.latent_image = model.latent_image + 1
        model.noted = 3
        (found,) = [m for m in [model] if m.noted == 3]
        seen.append((found.inner_model, float(inside[0].latent_image.mean())))
        return sampling.sample_euler(model, x, sigmas, **options)

    class Keeping(KSAMPLER):
        def sample(self, model_wrap, *args, **kwargs):
            guided = self.sampler_function

            def outer(model, *a, **k):
                inside.append(model)
                return guided(model, *a, **k)

            self.sampler_function = outer
            return super().sample(model_wrap, *args, **kwargs)

    model, seen, inside = gaussian(), [], []
    sample(model, ilvr(Keeping(setting), guide="prediction"), sigmas(model))
    assert seen[0][1] == 1.0 and inside[0].noted == 3


def growing():
    return comfy.samplers.KSAMPLER(
        pytest.importorskip("comfy_extras.nodes_advanced_samplers").sample_lcm_upscale,
        {"total_upscale": 2.0, "upscale_steps": 3, "upscale_method": "bicubic"},
    )


def test_a_state_that_grows_is_followed():
    model, phi = gaussian(), core.LowPassFilter(8)
    image = picture(1, 8, 8, 3).repeat_interleave(4, 1).repeat_interleave(4, 2)
    got = sample(model, ilvr(growing(), reference(image), low_pass(8.0)), sigmas(model))
    assert got.shape[-2:] == (64, 64)
    big = torch.nn.functional.interpolate(clean(image), (64, 64), mode="bicubic", antialias=True)
    assert (phi(got) - phi(big)).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["dpm_fast", "dpm_adaptive", "uni_pc", "sa_solver"])
@pytest.mark.parametrize("scheduler", ["normal", "simple", "karras", "sgm_uniform"])
def test_samplers_without_a_state_follow_with_guide_prediction(name, scheduler):
    for kind in (ModelType.EPS, ModelType.FLOW):
        model, phi = gaussian(kind), core.LowPassFilter(4)
        got = sample(model, ilvr(name, guide="prediction"), sigmas(model, 6, scheduler))
        assert (phi(got) - phi(clean())).abs().max() < 1e-4


def test_slices_of_a_schedule_are_silent(caplog):
    model = gaussian()
    schedule, part = sigmas(model, 8), core.ConditioningRange(600, 300)
    latent, silent = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    with caplog.at_level(logging.WARNING):
        for i in range(8):
            options = {"latent": latent, "start": None if i == 0 else silent}
            latent = sample(model, ilvr(range=part), schedule[i : i + 2], **options)
    assert "refined no step" not in caplog.text


def test_strength_0_is_silent_and_one_step_says_why(caplog):
    model = gaussian()
    with caplog.at_level(logging.WARNING):
        sample(model, ilvr(guide="prediction", strength=0.0), sigmas(model))
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        sample(model, ilvr(), sigmas(model, 1))
    assert "one step has no noise level in between; take more steps" in caplog.text


def test_a_negative_seed_is_folded_as_the_host_folds_it():
    model = gaussian()
    got = sample(model, ilvr(), sigmas(model), seed=-1)
    assert torch.equal(got, sample(model, ilvr(), sigmas(model), seed=2**64 - 1))
    other = ilvr("euler", reference(IMAGE, seed=-1))
    same = ilvr("euler", reference(IMAGE, seed=2**64 - 1))
    results = [sample(model, s, sigmas(model)) for s in (other, same)]
    assert torch.equal(*results)
