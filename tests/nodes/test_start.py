"""start = reference: the steps of the given schedule in which nothing is decided are left out."""

import comfy.latent_formats
import comfy.samplers
import pytest
import torch

from .host import (
    SAMPLERS,
    ModelType,
    core,
    gaussian,
    ilvr,
    low_pass,
    node,
    noise,
    picture,
    reference,
    sample,
    sigmas,
)
from .test_kinds import in_batch, off, video_reference
from .test_sampler import IMAGE, KINDS, clean, levels

PHI = core.LowPassFilter(4)
STEPS = 20


@pytest.fixture(params=KINDS, name="model")
def any_model(request):
    return gaussian(**KINDS[request.param])


def from_reference(name="euler", ref=None, phi=None, **options):
    return ilvr(name, ref, phi, start="reference", **options)


def taken(model, sampler, schedule=None, **options):
    """(how many steps of the schedule are left out, the result); none is ever inserted."""
    model.model.entered.clear()
    schedule = sigmas(model, STEPS) if schedule is None else schedule
    got = sample(model, sampler, schedule, **options)
    entered = [sigma for sigma, _ in model.model.entered]
    first = len(schedule) - 1 - len(entered)
    assert torch.allclose(torch.tensor(entered), schedule[first:-1].float(), rtol=1e-5)
    return first, got


def expected(model, y, phi=PHI):
    """The last level that is no quieter than the core's."""
    ratios = [
        n / s if s else float("inf")
        for s, n in (levels(model, float(t)) for t in sigmas(model, STEPS)[:-1])
    ]
    return sum(ratio >= float(core_sigma(y, phi)) for ratio in ratios) - 1


def core_sigma(y, phi):
    return core.guidance.start_sigma(y, phi).max()


def test_steps_above_the_references_level_are_left_out(model):
    first, got = taken(model, from_reference())
    assert first == expected(model, clean()) > 0
    assert off(got, clean()) < 1e-4
    sigma, x = model.model.entered[0]
    level = levels(model, sigma)[1]
    high = noise(1, 3, 32, 32) - PHI(noise(1, 3, 32, 32))
    assert (x - PHI(x) - level * high).abs().max() < 1e-3 * level


def test_progress_counts_on_from_the_first_step_that_is_taken():
    model, seen = gaussian(), []
    first, _ = taken(model, from_reference(), callback=lambda i, x0, x, n: seen.append((i, n)))
    assert seen == [(i, STEPS) for i in range(first, STEPS)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_starts_there(name):
    model = gaussian()
    got = sample(model, from_reference(name), sigmas(model, STEPS))
    assert off(got, clean()) < 1e-4 and got.isfinite().all()
    assert model.model.entered[0][0] < float(sigmas(model, STEPS)[1])


@pytest.mark.parametrize(
    "options",
    [
        {"guide": "prediction", "strength": 0.9},
        {"range": core.ConditioningRange(100, 0)},
        {"range": core.ConditioningRange(1000, 1000)},
        {"ref": reference(mask=torch.eye(32)[None])},
    ],
)
def test_where_the_reference_does_not_decide_everything_all_steps_are_taken(model, options):
    first, got = taken(model, from_reference(**options))
    assert first == 0
    assert torch.equal(got, sample(model, ilvr(**options), sigmas(model, STEPS)))


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_a_range_that_ends_above_is_followed_to_its_end(kind):
    model = gaussian(**KINDS[kind])
    first, _ = taken(model, from_reference(range=core.ConditioningRange(1000, 900)))
    end = model.get_model_object("model_sampling").percent_to_sigma(0.1)
    schedule = sigmas(model, STEPS)
    assert 0 < first < expected(model, clean()) and schedule[first] >= end > schedule[first + 1]


def test_of_several_references_the_one_that_decides_most_says_where(model):
    coarse = reference(picture(1, 4, 4, 3).repeat_interleave(8, 1).repeat_interleave(8, 2))
    late, _ = taken(model, from_reference())
    early, _ = taken(model, from_reference(ref=coarse, phi=low_pass(16)))
    assert early < late
    for inner, outer in (((), (coarse, low_pass(16))), ((coarse, low_pass(16)), ())):
        assert taken(model, from_reference(from_reference("euler", *inner), *outer))[0] == late
    masked = reference(mask=torch.eye(32)[None])
    first, got = taken(model, from_reference(from_reference("euler", coarse, low_pass(16)), masked))
    assert first == early
    assert torch.equal(
        got,
        sample(
            model, ilvr(from_reference("euler", coarse, low_pass(16)), masked), sigmas(model, STEPS)
        ),
    )


def test_image_to_image_starts_at_the_level_of_what_is_sampled_or_below(model):
    latent, schedule = clean(), sigmas(model, STEPS)
    guided = node("ApplyILVR", model, low_pass(), start="reference")[0]
    whole, _ = taken(guided, "euler", latent=latent)
    assert whole == expected(model, latent)
    for skipped in (3, whole + 2):
        first, got = taken(guided, "euler", schedule[skipped:], latent=latent)
        assert first == max(whole - skipped, 0)
        assert off(got, latent) < 1e-4
    first, _ = taken(model, from_reference(), schedule[3:], latent=picture(1, 3, 32, 32, seed=6))
    assert first == 0  # a picture that is not the reference has decided something too


def test_halves_of_a_schedule_begin_once(model):
    schedule, sampler = sigmas(model, STEPS), from_reference(ref=reference(seed=3))
    whole, finished = taken(model, sampler)
    first, half = taken(model, sampler, schedule[: whole + 4])
    assert first == whole
    silent = torch.zeros(1, 3, 32, 32)
    first, rest = taken(model, sampler, schedule[whole + 3 :], latent=half, start=silent)
    assert first == 0 and (rest - finished).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["euler", "ddpm"])
def test_an_item_made_again_alone_is_the_same(name):
    import nodes

    model, images = gaussian(), torch.cat([IMAGE, 0.2 * picture(1, 32, 32, 3, seed=4)])
    base = (
        node("DDPMSampler", "small")[0] if name == "ddpm" else comfy.samplers.sampler_object(name)
    )
    batch = torch.zeros(3, 3, 32, 32)
    sampler = from_reference(base, reference(images))
    whole = in_batch(model, sampler, {"samples": batch})
    for i in range(3):
        (one,) = nodes.LatentFromBatch().frombatch({"samples": batch}, i, 1)
        assert torch.equal(in_batch(model, sampler, one), whole[i : i + 1])


def test_outside_an_inpaint_mask_nothing_moves(model):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    kept = clean(picture(1, 32, 32, 3, seed=4))
    first, got = taken(model, from_reference(), latent=kept, noise_mask=mask)
    assert first == expected(model, clean())
    assert (got - kept)[..., :16].abs().max() <= 1e-6 < 0.1 < (got - kept)[..., 16:].abs().max()


def test_a_video_starts_at_the_level_of_all_its_frames_and_one_with_sound_at_noise():
    model, ref = gaussian(), video_reference(3)
    first, got = taken(model, from_reference(ref=ref), latent=torch.zeros(1, 3, 3, 32, 32))
    assert first == expected(model, ref.samples) and off(got, ref.samples) < 1e-4
    nest = pytest.importorskip("comfy.nested_tensor", reason="of newer hosts").NestedTensor
    latent = nest([torch.zeros(1, 3, 3, 32, 32), torch.zeros(1, 8, 20)])
    start = nest([noise(1, 3, 3, 32, 32), noise(1, 8, 20)])
    guided = node("ApplyILVR", model, low_pass(), reference=ref, start="reference")[0]
    plain = node("ApplyILVR", model, low_pass(), reference=ref)[0]
    both = [sample(m, "euler", sigmas(m), latent=latent, start=start) for m in (guided, plain)]
    assert all(torch.equal(a, b) for a, b in zip(*(x.unbind() for x in both)))


def test_latents_start_at_the_level_of_their_own_space():
    model = gaussian(latent_format=comfy.latent_formats.SD15)
    latent = noise(1, 4, 32, 32, seed=3)
    guided = node("ApplyILVR", model, low_pass(32.0), start="reference")[0]
    first, _ = taken(guided, "euler", latent=latent)
    inside = comfy.latent_formats.SD15().process_in(latent)
    assert first == expected(model, inside)


@pytest.mark.skipif(not hasattr(comfy.latent_formats, "Flux2"), reason="newer hosts have Flux.2")
def test_folded_cells_start_at_the_level_of_their_true_grid():
    model = gaussian(ModelType.FLOW, latent_format=comfy.latent_formats.Flux2)
    cells = noise(1, 128, 16, 16, seed=3)
    guided = node("ApplyILVR", model, low_pass(16.0), start="reference")[0]
    first, _ = taken(guided, "euler", latent=cells)
    inside = model.model.process_latent_in(cells)
    fine = torch.nn.functional.pixel_shuffle(inside, 2)
    assert first == expected(model, fine, core.LowPassFilter(2))


def test_an_unknown_start_is_refused():
    with pytest.raises(ValueError, match="Unknown start 'there': choose one of noise, reference"):
        ilvr(start="there")
