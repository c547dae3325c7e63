"""Where sampling starts: the level above which the reference has decided everything."""

import math
from pathlib import Path

import pytest
import torch

from ilvr import (
    BandPassFilter,
    ConditioningRange,
    ItemNoise,
    LowPassFilter,
    NoisedReference,
    Refinement,
    sample,
    steps,
)
from ilvr.guidance import FLAT, UNDECIDED, start_sigma
from ilvr.samplers import DEFAULT_STEPS, STEPS_BELOW, start_timestep
from ilvr.schedule import NoiseSchedule
from ilvr.settings import Settings

from .tiny import CONFIGURATIONS, model

SCHEDULE = NoiseSchedule.linear()
LEVELS = SCHEDULE.levels[::-1]
PHI = LowPassFilter(4)
TINY = model(CONFIGURATIONS["unconditional"])


def white(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def refinement(y, phi=PHI, **options):
    mask = options.pop("mask", None)
    return Refinement(NoisedReference(y, mask=mask), phi, **options)


@pytest.mark.parametrize("factor", [1.5, 4, 7.3, 16])
@pytest.mark.parametrize("shape", [(3, 128, 128), (4, 96, 160), (2, 5, 64, 64)])
def test_all_coefficients_of_white_noise_have_its_power_whatever_the_octave_and_size(factor, shape):
    sigma = start_sigma(0.5 * white(2, *shape), LowPassFilter(factor))
    assert sigma.shape == (2,)
    assert torch.allclose(sigma, torch.tensor(0.5 / math.sqrt(UNDECIDED)), rtol=0.1)


def test_each_reference_has_its_own_level():
    y = white(1, 3, 64, 64)
    sigma = start_sigma(torch.cat([y, 2 * y]), PHI)
    assert torch.allclose(sigma[1], 2 * sigma[0])
    assert torch.allclose(sigma[:1], start_sigma(y, PHI))


def test_what_a_plain_reference_does_not_say_is_taken_from_the_octave_above_or_from_a_floor():
    enlarged = PHI(white(1, 3, 64, 64))
    wanted = start_sigma(white(1, 3, 64, 64), LowPassFilter(8)) / 2
    assert torch.allclose(start_sigma(enlarged, PHI), wanted, rtol=0.1)
    for factor, n in ((4, 4), (64, 64), (1000, 64)):
        sigma = start_sigma(torch.ones(1, 3, 64, 64), LowPassFilter(factor))
        assert torch.allclose(sigma, torch.tensor(n * math.sqrt(FLAT / UNDECIDED)))


@pytest.mark.parametrize(
    "phi", [BandPassFilter(1, 8), BandPassFilter(4, 32), LowPassFilter(4, channels="colour")]
)
def test_where_something_coarse_is_free_there_is_no_level(phi):
    assert start_sigma(white(2, 3, 64, 64), phi).isinf().all()
    guided = refinement(white(1, 3, 64, 64), phi)
    assert start_timestep(TINY, guided, "reference") == 1000
    with pytest.raises(ValueError, match="has nothing to start from there"):
        start_timestep(TINY, guided, 400)


def test_of_a_video_whose_motion_is_free_there_is_no_level():
    slow = LowPassFilter(4, frames=4)
    assert start_sigma(white(1, 3, 5, 32, 32), slow).isinf().all()
    assert start_sigma(white(1, 3, 32, 32), slow).isfinite().all()


def test_the_level_is_the_last_that_is_no_quieter():
    index = refinement(white(1, 3, 32, 32)).start(LEVELS, sigma=2.0)
    assert LEVELS[index].sigma >= 2 > LEVELS[index + 1].sigma
    own = refinement(torch.cat([white(1, 3, 32, 32), 3 * white(1, 3, 32, 32)]))
    assert own.start(LEVELS) == own.start(LEVELS, float(start_sigma(own.reference.image, PHI)[1]))
    assert refinement(white(1, 3, 32, 32)).start(LEVELS, sigma=1e-6) == len(LEVELS) - 1
    assert refinement(white(1, 3, 32, 32)).start(LEVELS, sigma=1e6) == 0


@pytest.mark.parametrize(
    "start, end, wanted",
    [(1000, 0, 397), (1000, 300, 397), (500, 0, 397), (397, 397, 397)]
    + [(1000, 700, 700), (396, 0, 1000), (1000, 1000, 1000), (300, 100, 1000)],
)
def test_the_range_holds_the_level_or_ends_at_it_or_keeps_noise(start, end, wanted):
    guided = refinement(white(1, 3, 32, 32), range=ConditioningRange(start, end))
    assert LEVELS[guided.start(LEVELS, sigma=2.0)].t == wanted


@pytest.mark.parametrize(
    "options",
    [
        {"mask": torch.ones(1, 1, 16, 16).tril()},
        {"guide": "prediction", "strength": 0.9},
        {"range": ConditioningRange(100, 0)},
    ],
)
def test_where_the_reference_does_not_decide_everything_it_is_noise_as_in_the_paper(options):
    tiny, guided = (
        model(CONFIGURATIONS["unconditional"]),
        refinement(white(1, 3, 16, 16), **options),
    )
    wanted = sample(tiny, [0], guided, steps=4)
    assert torch.equal(sample(tiny, [0], guided, steps=4, start="reference"), wanted)
    assert len(list(steps(tiny, [0], guided, start="reference"))) == DEFAULT_STEPS["dpmpp_2m"]
    assert torch.equal(sample(tiny, [0], steps=4, start="reference"), sample(tiny, [0], steps=4))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m"])
@pytest.mark.parametrize("guide", ["state", "prediction"])
def test_the_first_state_is_the_references_kept_band_noised(sampler, guide):
    tiny, y = model(CONFIGURATIONS["unconditional"]), 0.3 * white(2, 3, 16, 16, seed=1)
    entered = []
    tiny.network.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[:2]))
    options = {"sampler": sampler, "steps": 6, "start": "reference"}
    out = sample(tiny, [0, 1], refinement(y, guide=guide), **options)
    assert (PHI(out) - PHI(y)).abs().max() < 1e-5 < 0.1 < (out - y).abs().max()

    level = LEVELS[refinement(y).start(LEVELS)]
    assert len(entered) == 6 and entered[0][1].tolist() == [level.t - 1] * 2
    eps = (entered[0][0] - level.signal * PHI(y)) / level.noise
    start = ItemNoise([0, 1]).draw("start", 1000, y)
    assert torch.allclose(eps, start, atol=1e-5)


def test_a_batch_starts_at_the_highest_level_of_its_references():
    y = 0.3 * white(1, 3, 16, 16)
    levels = [start_timestep(TINY, refinement(s), "reference") for s in (y, 3 * y)]
    both = start_timestep(TINY, refinement(torch.cat([y, 3 * y])), "reference")
    assert levels[0] < levels[1] == both < 1000


def test_a_timestep_of_ones_own():
    tiny, y = model(CONFIGURATIONS["unconditional"]), 0.3 * white(1, 3, 16, 16)
    done = list(steps(tiny, [0], refinement(y), start=400))
    assert len(done) == STEPS_BELOW["dpmpp_2m"] and done[0].level.t < 400
    at = start_timestep(TINY, refinement(y), "reference")
    same = [sample(tiny, [0], refinement(y), steps=4, start=start) for start in ("reference", at)]
    assert torch.equal(*same)
    noise = [sample(tiny, [0], refinement(y), steps=4, start=start) for start in ("noise", 1000)]
    assert torch.equal(*noise) and not torch.equal(noise[0], same[0])


@pytest.mark.parametrize(
    "start, message",
    [
        ("some", "Unknown start 'some': choose noise, reference or a timestep"),
        (0, "start is 0; a timestep above 0, up to 1000"),
        (1001, "a timestep above 0"),
        (math.nan, "a timestep above 0"),
        (0.5, "No noise level is at 0.5 or below; start at 1 or above"),
    ],
)
def test_refuses_starts_that_are_none(start, message):
    with pytest.raises(ValueError, match=message):
        steps(
            model(CONFIGURATIONS["unconditional"]),
            [0],
            refinement(white(1, 3, 16, 16)),
            start=start,
        )


def test_refuses_a_timestep_where_a_mask_leaves_nothing_to_start_from():
    masked = refinement(white(1, 3, 16, 16), mask=torch.zeros(1, 1, 16, 16))
    with pytest.raises(ValueError, match="what the mask or the filter leaves free"):
        steps(model(CONFIGURATIONS["unconditional"]), [0], masked, start=400)


def test_the_part_of_a_schedule_below_a_timestep():
    part = SCHEDULE.below(397)
    assert (len(part), part.levels[-1].t, part.length) == (397, 397, 1000)
    assert part.levels == SCHEDULE.levels[:397]
    assert part.karras(4)[0].t == pytest.approx(397)
    assert SCHEDULE.respaced(10).below(500).levels == SCHEDULE.respaced(10).levels[:5]


def test_steps_are_not_refused_before_the_reference_is_known():
    settings = Settings(out=Path("o"), start="reference", sampler="ddpm", steps=200)
    settings.check(TINY, LowPassFilter(2), ConditioningRange())
    plain = torch.zeros(1, 3, 16, 16)
    assert start_timestep(TINY, refinement(plain, LowPassFilter(2)), "reference") < 200
