"""Runs of pipelines of diffusers that start from the reference's own level."""

import diffusers
import pytest
import torch

from ilvr import BandPassFilter, ConditioningRange, LowPassFilter
from ilvr.adapters.diffusers import from_reference, guide
from ilvr.guidance import start_sigma
from tests.adapters.pipelines import FAMILIES, family, level, states
from tests.adapters.test_diffusers import PICTURE, N, errors, low, pixels

WITH_SOUND = "ltx_2"


def started(made, *settings, **named):
    """As `states`, from the reference."""
    g = guide(made.pipe, pixels(made), *settings, **named)
    with from_reference(made.pipe, g):
        return states(made, callback_on_step_end=g)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != WITH_SOUND])
def test_the_first_state_is_the_reference_at_the_level_where_it_has_decided(name):
    made = family(name)
    made.inputs["num_inference_steps"] = 8
    y, scheduler = made.clean(pixels(made)), made.pipe.scheduler
    free, _ = states(made)
    eps = free[0] / getattr(scheduler, "init_noise_sigma", 1.0)
    timesteps = scheduler.timesteps

    found, _ = started(made, LowPassFilter(N))
    assert len(found) < 8 and torch.equal(scheduler.timesteps, timesteps[-len(found) :])
    levels = [level(scheduler, i) for i in range(len(found))]
    ratios = [noise / signal for _, signal, noise in levels]
    decided = float(start_sigma(y, LowPassFilter(N / 8)))
    assert ratios[0] >= decided and all(ratio < decided for ratio in ratios[1:])

    _, signal, noise = levels[0]
    assert (found[0] - signal * low(made, y) - noise * eps).abs().max() < 1e-4
    assert all(error < 1e-4 for error in [*errors(made, found, y)][1:])

    assert len(states(made)[0]) == 8  # as before


def test_the_finished_picture_is_as_exact_as_from_noise():
    made = family("stable_diffusion")
    for _ in range(2):  # and a guide serves one run after the other
        _, finished = started(made, LowPassFilter(N))
        y = made.clean(pixels(made))
        assert low(made, finished - y).abs().max() < 1e-5 and (finished - y).abs().max() > 0.5


@pytest.mark.parametrize(
    "settings, named",
    [
        ((BandPassFilter(16, 64),), {}),
        ((LowPassFilter(N), ConditioningRange(200, 0)), {}),
        ((LowPassFilter(N),), {"mask": torch.ones(1, 1, 128, 128)}),
    ],
)
def test_where_the_model_decides_something_coarse_a_run_starts_from_noise(settings, named):
    made = family("stable_diffusion")
    free, _ = states(made)
    found, _ = started(made, *settings, **named)
    assert len(found) == 6 and torch.equal(found[0], free[0])


def test_every_item_starts_from_its_own_picture():
    made = family("flux")
    y = torch.cat([pixels(made), -pixels(made)])[:, :, 0]
    g = guide(made.pipe, y, LowPassFilter(N))
    with from_reference(made.pipe, g):
        found, _ = states(made, callback_on_step_end=g, num_images_per_prompt=2)
    _, signal, noise = level(made.pipe.scheduler, 0)
    clean = torch.cat([made.clean(one.unsqueeze(2)) for one in y.split(1)])
    eps = (found[0] - signal * low(made, clean)) / noise
    assert abs(float(eps.std()) - 1) < 0.1 and (eps[0] - eps[1]).abs().max() > 1


def test_latents_that_were_given_stay_as_they_are():
    made = family("flux")
    given = torch.randn(1, 48, 16)
    kept = given.clone()
    made.inputs["latents"] = given
    found, _ = started(made, LowPassFilter(N))
    assert torch.equal(given, kept) and not torch.equal(found[0], made.cells(given))


def test_what_cannot_start_from_a_reference_is_told_in_a_sentence():
    made = family("stable_diffusion")
    with pytest.raises(ValueError, match=r"guide\(\) was given no height and width"):
        from_reference(made.pipe, guide(made.pipe, PICTURE, LowPassFilter(N))).__enter__()
    small = guide(made.pipe, PICTURE, LowPassFilter(N), height=64, width=64)
    with (
        pytest.raises(ValueError, match=r"makes 128 x 128 pixels and guide\(\) was given 64 x 64"),
        from_reference(made.pipe, small),
    ):
        made.run(callback_on_step_end=small)

    for scheduler, sentence in [
        (diffusers.PNDMScheduler(), "PNDMScheduler plans its steps from pure noise"),
        (diffusers.DDIMScheduler(), "Img2ImgPipeline begins with more than pure noise"),
    ]:
        pipe = diffusers.StableDiffusionImg2ImgPipeline(
            **{**made.pipe.components, "scheduler": scheduler}, requires_safety_checker=False
        )
        with pytest.raises(ValueError, match=sentence):
            from_reference(pipe, guide(pipe, pixels(made), LowPassFilter(N))).__enter__()

    made = family(WITH_SOUND)
    with pytest.raises(ValueError, match="LTX2Pipeline begins with more than pure noise"):
        started(made, LowPassFilter(N))
