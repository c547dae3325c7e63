from pathlib import Path

import numpy as np
import pytest

from ilvr.schedule import NoiseSchedule, spaced_timesteps

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "guided_diffusion_schedules.npz")


@pytest.mark.parametrize("key", [key for key in GOLDEN if key.startswith("betas")])
def test_betas_are_guided_diffusions(key):
    _, name, length = key.split("/")
    schedule = NoiseSchedule.named(name, int(length))
    assert np.abs(schedule.betas - GOLDEN[key]).max() < 1e-15
    assert np.allclose(schedule.abar, np.cumprod(1 - GOLDEN[key]), rtol=1e-12)


@pytest.mark.parametrize("key", [key for key in GOLDEN if key.startswith("respaced")])
def test_respacing_keeps_guided_diffusions_timesteps(key):
    _, length, spacing = key.split("/")
    assert spaced_timesteps(int(length), spacing) == GOLDEN[key].tolist()


def test_respacing_keeps_levels():
    full = NoiseSchedule.cosine(4000)
    some = full.respaced("ddim40")
    assert len(some) == 40
    for index, level in zip(some.timesteps, some.levels):
        assert level.signal == pytest.approx(full.levels[index].signal, rel=1e-12)
        assert level.t == full.levels[index].t == (index + 1) / 4
    assert some.respaced([4, 4]).length == 4000


def test_timesteps_are_the_papers_whatever_the_length():
    for length in (1000, 4000, 50):
        levels = NoiseSchedule.linear(length).levels
        assert levels[-1].t == 1000
        assert levels[0].t == 1000 / length
        assert all(abs(level.signal**2 + level.noise**2 - 1) < 1e-12 for level in levels)


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_karras_steps_lie_on_the_schedule(steps):
    schedule = NoiseSchedule.linear()
    levels = schedule.karras(steps)
    assert len(levels) == steps + 1
    assert levels[0].t == pytest.approx(1000)
    assert (levels[-1].t, levels[-1].noise) == (0, 0)
    sigmas = [level.sigma for level in levels]
    assert sigmas == sorted(sigmas, reverse=True)
    roots = np.array(sigmas[:-1]) ** (1 / 7)
    assert np.allclose(np.diff(roots, 2), 0, atol=1e-9)
    table = [level.sigma for level in schedule.levels]
    for level in levels[:-1]:
        below, above = int(level.t - 1e-6) - 1, int(np.ceil(level.t - 1e-6)) - 1
        assert table[max(below, 0)] * (1 - 1e-9) <= level.sigma <= table[above] * (1 + 1e-9)


@pytest.mark.parametrize(
    "spacing", ["0", "1001", "-3", "ddim300", "ddim", "abc", "", "10,x", "600,600", 0, [], [0, 5]]
)
def test_refuses_respacings_that_do_not_fit(spacing):
    with pytest.raises(ValueError, match="Respacing"):
        NoiseSchedule.linear().respaced(spacing)


def test_refuses_steps_and_betas_that_do_not_fit():
    with pytest.raises(ValueError, match="from 1 to 1000"):
        NoiseSchedule.linear().karras(0)
    with pytest.raises(ValueError, match="from 1 to 1000"):
        NoiseSchedule.linear().karras(1001)
    with pytest.raises(ValueError, match="betas"):
        NoiseSchedule([0.1, -0.1])
    with pytest.raises(ValueError, match="linear or cosine"):
        NoiseSchedule.named("square")
