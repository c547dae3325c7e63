"""No reference connected: what is sampled is what is followed."""

import comfy.latent_formats
import comfy.samplers
import pytest
import torch

from .host import core, gaussian, low_pass, node, noise, picture, sample, sigmas

PICTURE = picture(1, 3, 32, 32, seed=4) * 2 - 1


def applied(model, factor=4.0, **options):
    return node("ApplyILVR", model, low_pass(factor), **options)[0]


def alone(name="euler", factor=4.0, **options):
    sampler = comfy.samplers.sampler_object(name)
    return node("ILVRSampler", sampler, low_pass(factor), **options)[0]


@pytest.mark.parametrize("kind", ["EPS", "FLOW", "EDM"])
@pytest.mark.parametrize("guide", ["state", "prediction"])
@pytest.mark.parametrize("skipped", [0, 5])
def test_each_run_follows_the_latent_that_it_was_given(kind, guide, skipped):
    model = gaussian(getattr(comfy.model_base.ModelType, kind))
    guided, phi = applied(model, guide=guide), core.LowPassFilter(4)
    for seed in (4, 5):
        latent = picture(1, 3, 32, 32, seed=seed) * 2 - 1
        got = sample(guided, "euler", sigmas(model, 12)[skipped:], latent=latent)
        assert (phi(got) - phi(latent)).abs().max() < 1e-4
        same = sample(model, alone(guide=guide), sigmas(model, 12)[skipped:], latent=latent)
        assert torch.equal(got, same)


def test_the_factor_counts_image_pixels():
    model = gaussian(latent_format=comfy.latent_formats.SD15)
    latent = noise(1, 4, 32, 32, seed=3)
    got = sample(applied(model, 32.0), "euler", sigmas(model), latent=latent)
    phi, finer = core.LowPassFilter(4), core.LowPassFilter(2)
    assert (phi(got) - phi(latent)).abs().max() < 1e-4
    assert (finer(got) - finer(latent)).abs().max() > 0.1
    with pytest.raises(ValueError, match="no more than the 8 pixels of a latent cell"):
        sample(applied(model, 8.0), "euler", sigmas(model), latent=latent)


def test_a_mask_of_what_is_painted_and_videos():
    model, phi = gaussian(), core.LowPassFilter(4)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    got = sample(applied(model), "euler", sigmas(model), latent=PICTURE, noise_mask=mask)
    assert (got - PICTURE)[..., :16].abs().max() <= 1e-6
    assert (got - PICTURE)[..., 16:].abs().max() > 0.1
    video = noise(1, 3, 5, 32, 32, seed=2).clamp(-1, 1)
    got = sample(applied(model), "euler", sigmas(model), latent=video)
    assert (phi(got) - phi(video)).abs().max() < 1e-4


def test_a_latent_without_a_picture_is_refused():
    model = gaussian()
    with pytest.raises(ValueError, match=r"latent is empty.* connect one from NoisedReference"):
        sample(applied(model), "euler", sigmas(model))
    silent = torch.zeros(1, 3, 32, 32)
    for kind in (comfy.model_base.ModelType.EPS, comfy.model_base.ModelType.FLOW):
        model = gaussian(kind)
        half = sample(model, "euler", sigmas(model)[:4], latent=PICTURE)
        with pytest.raises(ValueError, match="brings its noise along"):
            sample(applied(model), "euler", sigmas(model)[3:], latent=half, start=silent)
