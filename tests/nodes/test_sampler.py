"""The guided sampler on models whose answer is known in closed form."""

import dataclasses
import importlib
import logging

import comfy.latent_formats
import comfy.samplers
import pytest
import torch

from .host import (
    NO_STATE,
    PACK,
    SAMPLERS,
    SEED,
    ModelType,
    core,
    gaussian,
    ilvr,
    low_pass,
    noise,
    picture,
    pixel_vae,
    posterior_mean,
    reference,
    sample,
    sigmas,
    tiny_vae,
)

KINDS = {
    "eps": {},
    "v": {"kind": ModelType.V_PREDICTION},
    "edm": {"kind": ModelType.EDM, "sigma_data": 0.5, "sigma_max": 80.0},
    "flow": {"kind": ModelType.FLOW, "shift": 3.0},
    "cosmos": {"kind": ModelType.FLOW_COSMOS, "sigma_max": 80.0},
}
IMAGE = picture(1, 32, 32, 3)


@pytest.fixture(params=KINDS, name="model")
def any_model(request):
    return gaussian(**KINDS[request.param])


def clean(image=IMAGE):
    return image.movedim(-1, 1) * 2 - 1


def levels(model, sigma):
    """(signal, noise) of the state x = signal x_0 + noise eps that a sampler holds at sigma."""
    return (1 - sigma, sigma) if model.model.model_type == ModelType.FLOW else (1.0, sigma)


def noised(model, sigma, y, seed=SEED):
    signal, noise = levels(model, sigma)
    return signal * y + noise * core.ItemNoise([seed]).draw("reference", 1000 * sigma, y)


def band_off(model, phi, sigma, x):
    """How far phi(x) is from phi(y_t)."""
    x = x[:1]  # positive and negative prompt may go through the network together
    return float((phi(x) - phi(noised(model, sigma, clean()))).abs().max())


def start_scale(model, sigma):
    """How large pure noise is: models of variance 1 + sigma^2 know no state without an image."""
    straight = (ModelType.FLOW, ModelType.FLOW_COSMOS)
    return sigma if model.model.model_type in straight else (1 + sigma**2) ** 0.5


def paper(model, schedule, y, phi, x):
    """Algorithm 1 with euler's rule, on an analytic model."""
    s, *rest = schedule.tolist()
    x = x * start_scale(model, s)
    for t in rest:
        x0 = posterior_mean(x, *levels(model, s))
        x = x0 + (x - x0) / s * t
        x = phi(noised(model, t, y)) + x - phi(x)
        s = t
    return x


@pytest.mark.parametrize("factor, kernel, exact", [(4, "cubic", True), (8, "linear", False)])
def test_trajectory_is_the_papers(model, factor, kernel, exact):
    schedule = sigmas(model, 12)
    got = sample(model, ilvr(phi=low_pass(factor, kernel, exact)), schedule)
    phi = core.LowPassFilter(factor, kernel, exact)
    wanted = paper(model, schedule, clean(), phi, noise(1, 3, 32, 32))
    assert (got - wanted).abs().max() < 1e-5


def test_every_state_inside_the_range_is_refined_and_no_other(model):
    schedule, phi = sigmas(model, 12), core.LowPassFilter(4)
    from_nodes = {"start": 800, "end": 300}
    sample(model, ilvr(range=core.ConditioningRange(**from_nodes)), schedule)
    sampling = model.get_model_object("model_sampling")
    high, low = (sampling.percent_to_sigma(1 - t / 1000) for t in (800, 300))
    inside = 0
    for sigma, x in model.model.entered:
        off = band_off(model, phi, sigma, x)
        assert off < 1e-4 * (1 + sigma) if low <= sigma <= high else off > 0.05 * sigma
        inside += low <= sigma <= high
    assert 3 <= inside < len(model.model.entered)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_ends_on_the_reference(model, name):
    schedule, phi = sigmas(model, 8), core.LowPassFilter(4)
    before = schedule.clone()
    got = sample(model, ilvr(name), schedule)
    refined = [state for state in model.model.entered if state[0] in schedule[1:]]
    assert len({sigma for sigma, _ in refined}) == 7
    assert all(band_off(model, phi, sigma, x) < 1e-4 * (1 + sigma) for sigma, x in refined)
    off = (phi(got) - phi(clean())).abs().max()
    bare = (phi(sample(model, name, schedule)) - phi(clean())).abs().max()
    assert off < 1e-4 < 0.3 < bare
    assert torch.equal(schedule, before)
    assert got.isfinite().all() and torch.equal(got, sample(model, ilvr(name), schedule))


@pytest.mark.parametrize(
    "name, guide",
    [(name, "state") for name in SAMPLERS]
    + [(name, "prediction") for name in comfy.samplers.SAMPLER_NAMES],
)
def test_empty_range_is_the_bare_sampler_bit_for_bit(name, guide):
    model = gaussian()
    schedule = sigmas(model, 6)
    empty = core.ConditioningRange(1000, 1000)
    torch.manual_seed(5)
    got = sample(model, ilvr(name, range=empty, guide=guide), schedule.clone())
    torch.manual_seed(5)
    assert torch.equal(got, sample(model, name, schedule.clone()))


def test_noise_outside_an_inpaint_mask_is_that_of_the_bare_sampler():
    model, mask = gaussian(), torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    options = {"latent": clean(picture(1, 32, 32, 3, seed=4)), "noise_mask": mask}
    sampler = ilvr("ddim", range=core.ConditioningRange(1000, 1000))
    bare = sample(model, "ddim", sigmas(model), **options)
    assert torch.equal(sample(model, sampler, sigmas(model), **options), bare)


@pytest.mark.parametrize("name", NO_STATE)
def test_refuses_samplers_without_a_state_and_guides_their_prediction(model, name):
    with pytest.raises(ValueError, match=f"{name} keeps no state .* guide = prediction"):
        ilvr(name, guide="state")
    chained = ilvr(name, guide="prediction")
    with pytest.raises(ValueError, match="keeps no state"):
        ilvr(chained, guide="state")
    schedule, phi = sigmas(model, 8), core.LowPassFilter(4)
    before = schedule.clone()
    got = sample(model, chained, schedule)
    assert (phi(got) - phi(clean())).abs().max() < 0.05
    assert torch.equal(schedule, before)


def test_guide_auto_is_the_state_where_the_sampler_keeps_one_and_says_once_where_not(caplog):
    model, say_once = gaussian(), importlib.import_module(f"{PACK}.nodes.host.reference").say_once
    schedule = sigmas(model, 6)

    def same(sampler, **options):
        """Which guide paints what auto does."""
        got = sample(model, ilvr(sampler, **options), schedule.clone())
        forms = ["prediction"] if options or sampler in NO_STATE else ["state", "prediction"]
        chosen = [ilvr(sampler, guide=form, **options) for form in forms]
        painted = [sample(model, each, schedule.clone()) for each in chosen]
        return [form for form, other in zip(forms, painted) if torch.equal(got, other)]

    say_once.cache_clear()
    assert same("euler") == ["state"] and same("euler", strength=0.5) == ["prediction"]
    assert caplog.text == ""
    for _ in range(2):
        assert same("uni_pc") == ["prediction"]
    assert caplog.text.count("uni_pc keeps no state that could be refined") == 1


def test_strength_pulls_the_prediction_part_of_the_way():
    model, phi = gaussian(), core.LowPassFilter(4)
    schedule = sigmas(model, 20)

    def off(strength):
        sampler = ilvr(guide="prediction", strength=strength)
        return float((phi(sample(model, sampler, schedule)) - phi(clean())).square().mean().sqrt())

    assert off(1.0) < 1e-4 < off(0.9) < off(0.5) < off(0.0)
    assert torch.equal(
        sample(model, ilvr(guide="prediction", strength=0.0), schedule),
        sample(model, "euler", schedule),
    )


@pytest.mark.parametrize("name", ["euler", "heun", "dpm_2"])
def test_halves_of_a_schedule_equal_the_whole(model, name):
    schedule = sigmas(model, 12)
    sampler = ilvr(name, reference(seed=3))
    whole = sample(model, sampler, schedule)
    half = sample(model, sampler, schedule[:6])
    silent = torch.zeros(1, 3, 32, 32)
    rest = sample(model, sampler, schedule[5:], latent=half, start=silent, seed=0)
    assert (rest - whole).abs().max() < 1e-5


@pytest.mark.parametrize("guide", ["state", "prediction"])
@pytest.mark.parametrize("name", ["euler", "ddim", "dpmpp_2m"])
def test_outside_an_inpaint_mask_nothing_moves(model, name, guide):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    kept = clean(picture(1, 32, 32, 3, seed=4))
    got = sample(model, ilvr(name, guide=guide), sigmas(model), latent=kept, noise_mask=mask)
    assert (got - kept)[..., :16].abs().max() <= 1e-6
    assert (got - kept)[..., 16:].abs().max() > 0.1


def test_image_to_image_is_refined_from_its_first_state(model):
    schedule, phi = sigmas(model, 12)[6:], core.LowPassFilter(4)
    sample(model, ilvr(), schedule, latent=clean(picture(1, 32, 32, 3, seed=4)))
    assert band_off(model, phi, *model.model.entered[0]) < 1e-4


def test_chained_samplers_apply_both_and_the_last_one_last(model):
    other = picture(1, 32, 32, 3, seed=4)
    mask = torch.zeros(1, 32, 32)
    mask[:, :, :16] = 1
    phi = core.LowPassFilter(4)
    for guide in ("state", "prediction"):
        both = ilvr(ilvr(guide=guide), reference(other), low_pass(8), guide=guide)
        got = sample(model, both, sigmas(model))
        coarse = core.LowPassFilter(8)
        assert (coarse(got) - coarse(clean(other))).abs().max() < 1e-4
        fine = phi(got) - coarse(phi(got)) - (phi(clean()) - coarse(phi(clean())))
        assert fine.abs().max() < 0.3


def test_a_batch_cycles_the_references_and_keeps_each_item():
    model, phi = gaussian(), core.LowPassFilter(4)
    images = torch.cat([IMAGE, picture(1, 32, 32, 3, seed=4)])
    latent = torch.zeros(3, 3, 32, 32)
    got = sample(model, ilvr("euler", reference(images)), sigmas(model), latent=latent)
    assert (phi(got) - phi(clean(images[[0, 1, 0]]))).abs().max() < 1e-4
    alone = sample(model, ilvr(), sigmas(model), start=noise(3, 3, 32, 32)[:1])
    assert torch.allclose(alone, got[:1], atol=1e-6)


def test_latents_are_scaled_once_and_the_factor_counts_image_pixels():
    model = gaussian(latent_format=comfy.latent_formats.SD15)
    vae, image = tiny_vae(), picture(1, 256, 256, 3)
    latents = vae.encode(image)
    got = sample(
        model, ilvr("euler", reference(image, vae), low_pass(32)), sigmas(model),
        latent=torch.zeros_like(latents),
    )  # fmt: skip
    phi = core.LowPassFilter(4)
    assert (phi(got) - phi(latents)).abs().max() < 1e-4
    finer = core.LowPassFilter(2)
    assert (finer(got) - finer(latents)).abs().max() > 0.1


def test_videos_take_a_picture_for_all_frames_and_a_mask():
    model, phi = gaussian(), core.LowPassFilter(4)
    mask = torch.zeros(1, 64, 64)
    mask[:, :32] = 1
    latent = torch.zeros(1, 3, 5, 32, 32)
    got = sample(model, ilvr(), sigmas(model), latent=latent)
    assert (phi(got) - phi(clean()).unsqueeze(2)).abs().max() < 1e-4
    masked = sample(model, ilvr("euler", reference(mask=mask)), sigmas(model), latent=latent)
    bare = sample(model, "euler", sigmas(model), latent=latent)
    assert (
        (masked - bare)[..., 16:, :].abs().max() < 1e-5 < (masked - bare)[..., :16, :].abs().max()
    )


def test_a_reference_of_another_size_is_resampled_when_its_shape_agrees():
    model, phi = gaussian(), core.LowPassFilter(8)
    image = picture(1, 8, 8, 3).repeat_interleave(8, 1).repeat_interleave(8, 2)
    got = sample(model, ilvr("euler", reference(image), low_pass(8)), sigmas(model))
    half = clean(image)[..., ::2, ::2]
    assert (phi(got) - phi(half)).abs().max() < 0.15
    with pytest.raises(ValueError, match="reference is 64 x 32 pixels and the image 32 x 32"):
        sample(model, ilvr("euler", reference(picture(1, 32, 64, 3))), sigmas(model))


def test_says_what_a_run_can_not_use(model):
    with pytest.raises(ValueError, match="3 channels and the latent 4"):
        sample(model, ilvr(), sigmas(model), latent=torch.zeros(1, 4, 32, 32))
    with pytest.raises(ValueError, match="sigmas rise"):
        sample(model, ilvr(), sigmas(model).flip(0)[1:])
    with pytest.raises(ValueError, match="no picture or video"):
        sample(model, ilvr(), sigmas(model), latent=torch.zeros(1, 1, 500))
    assert model.model.entered == []


def test_says_what_a_node_can_not_use():
    with pytest.raises(ValueError, match="runs its steps by itself"):
        ilvr(comfy.samplers.Sampler())
    with pytest.raises(ValueError, match="guide prediction"):
        ilvr(strength=0.5, guide="state")
    with pytest.raises(ValueError, match="Unknown guide 'states': choose one of auto, state, pred"):
        ilvr(guide="states")
    latent = reference(picture(1, 256, 256, 3), tiny_vae())
    for factor in (1, 8):
        with pytest.raises(ValueError, match="the reference itself; use a factor of 16 or more"):
            ilvr("euler", latent, low_pass(factor))
        with pytest.raises(ValueError, match="the reference itself"):
            ilvr("euler", latent, low_pass(factor), guide="prediction")
    ilvr("euler", latent, low_pass(8), range=core.ConditioningRange(1000, 100))
    ilvr("euler", latent, low_pass(8), guide="prediction", strength=0.9)


def test_warns_when_no_step_was_refined(caplog):
    model = gaussian()
    schedule = sigmas(model, 4)
    with caplog.at_level(logging.WARNING):
        sample(model, ilvr(), schedule)
        sample(model, ilvr(range=core.ConditioningRange(1000, 1000)), schedule)
    assert "ILVR refined no step" not in caplog.text
    with caplog.at_level(logging.WARNING):
        sample(model, ilvr(range=core.ConditioningRange(0, 0)), schedule)
    assert "no noise level of this schedule lies in the range" in caplog.text


@pytest.mark.skipif(
    not hasattr(ModelType, "IMG_TO_IMG_FLOW"), reason="newer hosts have such models"
)
def test_refuses_models_that_turn_images_into_images():
    model = gaussian(ModelType.IMG_TO_IMG_FLOW)
    with pytest.raises(ValueError, match="turns one image into another without noise"):
        sample(model, ilvr(), torch.tensor([1.0, 0.5, 0.0]))


def test_video_frames_are_followed_frame_by_frame_and_their_number_must_fit():
    model, phi = gaussian(), core.LowPassFilter(4)
    frames = noise(1, 3, 5, 32, 32, seed=4)
    video = dataclasses.replace(reference(), samples=frames)
    latent = torch.zeros(1, 3, 5, 32, 32)
    got = sample(model, ilvr("euler", video), sigmas(model), latent=latent)
    assert (phi(got) - phi(frames)).abs().max() < 1e-4
    with pytest.raises(ValueError, match="5 latent frames and the latent 7; set length"):
        sample(model, ilvr("euler", video), sigmas(model), latent=torch.zeros(1, 3, 7, 32, 32))
    with pytest.raises(ValueError, match="VAE encodes pictures; set length to 1"):
        reference(length=5)


def test_works_under_wrappers_that_call_the_sampler_function():
    model, phi = gaussian(), core.LowPassFilter(4)
    inner = ilvr()

    class Wrapper:
        def __init__(self, model):
            self.model, self.inner_model, self.sigmas = model, model.inner_model, model.sigmas

        def __call__(self, x, sigma, **kwargs):
            return self.model(x, sigma, **kwargs)

    def wrapped(model, x, sigmas, **kwargs):
        return inner.sampler_function(Wrapper(model), x, sigmas, **kwargs, **inner.extra_options)

    got = sample(model, comfy.samplers.KSAMPLER(wrapped), sigmas(model))
    assert torch.equal(got, sample(model, inner, sigmas(model)))
    assert (phi(got) - phi(clean())).abs().max() < 1e-4


def test_progress_reports_every_step_as_the_bare_sampler_does():
    model, seen = gaussian(), []
    sample(model, ilvr(), sigmas(model), callback=lambda i, x0, x, total: seen.append((i, total)))
    assert seen == [(i, 8) for i in range(8)]


def test_pixel_vae_is_the_picture_itself():
    assert torch.equal(pixel_vae().encode(IMAGE), clean())
