"""Bands, channels and time: what is kept of a reference beside its low frequencies."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ilvr import (
    BandPassFilter,
    ItemNoise,
    LowPassFilter,
    NoisedReference,
    NoiseSchedule,
    Refinement,
    dpmpp_2m,
    match_low_frequencies,
    steps,
)
from ilvr.cli import main
from ilvr.low_pass import CHANNELS, filters
from ilvr.resampling import KERNELS
from ilvr.schedule import Level

from .tiny import LATENT, model

FREED = {
    "the mean": BandPassFilter(1, 1e6),
    "from 32 on": BandPassFilter(1, 32),
    "all but 4 to 32": BandPassFilter(4, 32),
    "but for a sliver": BandPassFilter(4, 4.5),
    "colour": LowPassFilter(8, channels="luminance"),
    "luminance": LowPassFilter(8, channels="colour"),
    "the paler light": BandPassFilter(1, 16, channels="luminance"),
    "motion": LowPassFilter(4, frames=9),
    "motion and light": BandPassFilter(1, 16, frames=math.inf),
}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def decibels(a, b):
    return 10 * math.log10(4 / (a - b).square().mean().item())


@pytest.mark.parametrize("freed", FREED)
def test_the_kept_band_is_the_references_and_the_rest_stays(freed):
    phi = FREED[freed]
    x, y = random(2, 2, 3, 12, 61, 64)
    refined = Refinement(NoisedReference(y), phi).finished(x)
    assert decibels(phi(refined), phi(y)) > 120
    assert decibels(refined - phi(refined), x - phi(x)) > 120
    assert (refined - y).abs().max() > 0.01
    assert (refined - x).abs().max() > 0.01


bands = st.tuples(st.floats(1, 40), st.floats(1.01, 100))


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(st.integers(2, 80), st.integers(2, 80)), bands,
    st.sampled_from(list(KERNELS)), st.sampled_from(CHANNELS), st.integers(0, 2**32),
)  # fmt: skip
def test_a_band_is_a_projection(size, band, kernel, channels, seed):
    finest, ratio = min(band[0], max(size) - 1), band[1]
    phi = BandPassFilter(finest, finest * ratio, kernel, channels)
    x, y = random(2, 1, 3, *size, seed=seed)
    assert (phi(phi(x)) - phi(x)).abs().max() < 2e-5
    assert abs(torch.sum(phi(x) * (y - phi(y)))) < 1e-4 * x.norm() * y.norm()


def test_bands_add_up_to_the_picture():
    x = random(3, 50, 64)
    coarse = [LowPassFilter(16)(x), BandPassFilter(1, 16)(x)]
    assert (sum(coarse) - x).abs().max() < 1e-5
    # cubic at 4 and then 4 more is nearly, not quite, cubic at 16
    nested = BandPassFilter(4, 16)(x) + BandPassFilter(1, 4)(x) + coarse[0]
    assert 1e-3 < (nested - x).abs().max() < 0.5
    colour, luminance = (LowPassFilter(1, channels=name)(x[None]) for name in CHANNELS[:0:-1])
    assert (colour + luminance - x).abs().max() < 1e-6
    assert luminance.std(1).max() < 1e-6


def test_a_band_without_an_end_is_the_low_pass():
    x = random(2, 3, 40, 30)
    assert torch.equal(BandPassFilter(8)(x), LowPassFilter(8)(x))
    mean = x.mean((-2, -1), keepdim=True)
    assert (BandPassFilter(1, 40)(x) - (x - mean)).abs().max() < 1e-6


def test_on_cells_of_latents_factors_are_still_of_pixels():
    x = random(1, 4, 32, 24)
    expected = BandPassFilter(2, 8)(x)
    assert torch.equal(BandPassFilter(16, 64).on_cells(8)(x), expected)
    assert torch.equal(BandPassFilter(4, 64).on_cells(8)(x), BandPassFilter(1, 8)(x))
    assert torch.equal(LowPassFilter(16).on_cells(8)(x), LowPassFilter(2)(x))
    with pytest.raises(ValueError, match=r"no more than the 8 pixels.*16 or more"):
        BandPassFilter(1, 8).on_cells(8)
    with pytest.raises(ValueError, match="Colour can't be told apart in the latents"):
        LowPassFilter(16, channels="colour").on_cells(8)
    assert LowPassFilter(16, channels="colour").on_cells(1).channels == "colour"


@pytest.mark.parametrize("channels", CHANNELS[1:])
def test_luminance_and_colour_of_latents_are_what_they_add_up_to(channels):
    latent = model(LATENT)
    colours, y = latent.colours().detach(), latent.encode(random(1, 3, 64, 64))
    refinement = Refinement(NoisedReference(y), LowPassFilter(16, channels=channels))
    (*_, last) = steps(latent, [0], refinement, steps=3)
    luminance = colours.mean(1, keepdim=True)
    kept = luminance if channels == "luminance" else colours - luminance
    seen = ((last.x - y).movedim(1, -1) @ kept).movedim(-1, 1)
    assert LowPassFilter(2)(seen).abs().max() < 1e-5
    assert LowPassFilter(2)(last.x - y).abs().max() > 0.05


@pytest.mark.parametrize("stride", [1, 4, 8])
@pytest.mark.parametrize("frames", [1, 2, 6, 16.5, 33, math.inf])
def test_along_time_what_stands_still_is_kept(stride, frames):
    still = random(1, 4, 1, 12, 10).expand(1, 4, 9, 12, 10)
    phi, each = LowPassFilter(3, frames=frames).on_cells(1, stride), LowPassFilter(3)
    assert (phi(still) - each(still)).abs().max() < 1e-5
    moving = random(1, 4, 9, 12, 10)
    assert (phi(phi(moving)) - phi(moving)).abs().max() < 1e-5
    if frames <= stride:  # a latent frame is no shorter
        assert torch.equal(phi(moving), each(moving))
    if frames >= 8 * stride + 1:
        mean = each(moving).mean(2, keepdim=True).expand_as(moving)
        assert (phi(moving) - mean).abs().max() < 1e-5


def test_along_time_slow_changes_are_kept_and_fast_ones_freed():
    t = torch.arange(32.0).reshape(1, 1, 32, 1, 1).expand(1, 1, 32, 4, 4)
    slow, fast = torch.cos(math.pi * t / 32), torch.cos(math.pi * t)
    phi = LowPassFilter(1, frames=8)
    assert (phi(slow) - slow).std() < 0.02 * slow.std()
    assert phi(fast).std() < 0.1 * fast.std()


def test_the_first_latent_frame_is_one_picture():
    pulse = torch.zeros(1, 1, 8, 1, 1)
    pulse[:, :, 0] = 1
    after = [LowPassFilter(1, frames=8).on_cells(1, n)(pulse).flatten() for n in (1, 4)]
    alone = LowPassFilter(1, frames=8).on_cells(1, 4)(pulse.flip(2)).flatten().flip(0)
    assert (after[0] - 1 / 8).abs().max() < 1e-6
    assert after[1][1] > alone[1] + 0.05  # the frame beside it is nearer than the last's


def test_pictures_have_no_time():
    x = random(2, 3, 16, 16)
    assert torch.equal(LowPassFilter(4, frames=9)(x), LowPassFilter(4)(x))


def test_a_finished_picture_is_matched_in_any_band():
    x, y = random(2, 1, 3, 32, 32).div(4).clamp(-1, 1)
    phi = BandPassFilter(1, 8)
    matched = match_low_frequencies(x, NoisedReference(y), phi)
    assert matched.abs().max() <= 1
    assert decibels(phi(matched), phi(y)) > 60


@pytest.mark.parametrize(
    "options, complaint",
    [
        ((0.5,), "factor of 1 or more"),
        ((math.nan,), "factor of 1 or more"),
        ((8, 4), "from 8 to 4; a coarsest factor above"),
        ((8, 8), "coarsest factor above"),
        ((1, math.nan), "coarsest factor above"),
        ((1, 8, "nearest"), "Unknown kernel"),
        ((1, 8, "cubic", "chroma"), "all, luminance or colour"),
        ((1, 8, "cubic", "all", 0.5), "frames is 0.5"),
    ],
)
def test_refuses(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        BandPassFilter(*options)


def test_says_where_nothing_lies_in_the_band():
    with pytest.raises(ValueError, match="30 x 20 has nothing between 30 and 60"):
        BandPassFilter(30, 60)(random(1, 3, 20, 30))
    with pytest.raises(ValueError, match=r"Luminance is of 3 channels.*\(1, 1, 8, 8\)"):
        LowPassFilter(2, channels="luminance")(random(1, 1, 8, 8))


def test_filters_of_words():
    made = filters(["low", "high", "4-32"], [8, 16], channels="colour")
    titles = ["N = 8", "N = 16", "N = 1-8", "N = 1-16", "N = 4-32"]
    assert [phi.title for phi in made] == [f"{title}, colour" for title in titles]
    assert [phi.keep for phi in made] == ["low", "low", "1-8", "1-16", "4-32"]
    for word in ("middle", "4", "-4", "4-", "a-b"):
        with pytest.raises(ValueError, match=f"'{word}' can't be kept; give low, high"):
            filters([word], [8])
    with pytest.raises(ValueError, match="inexactly, and not high"):
        filters(["high"], [8], exact=False)


def test_the_command_line_keeps_a_band(tmp_path, capsys):
    lake = "ilvr/assets/references/render-lake.png"
    arguments = ["sample", lake, "--out", str(tmp_path), "--count", "1", "--steps", "2"]
    arguments += ["--model", "landscapes-64"]
    assert main([*arguments, "--keep", "high", "--factor", "16", "--channels", "luminance"]) == 0
    assert [path.stem for path in sorted(tmp_path.iterdir())] == [
        "render-lake-N1-16-luminance-0", "sheet",
    ]  # fmt: skip
    assert main([*arguments, "--keep", "32-4"]) == 2
    assert "coarsest factor above" in capsys.readouterr().err


GREYS = [0.1, 0.25, 0.5, 0.7, 0.9, 1.0]
MASKS = {str(grey): torch.full((1, 1, 64, 64), grey) for grey in GREYS} | {
    "a gradient": torch.linspace(0, 1, 64).expand(1, 1, 64, 64),
    "black and white": (torch.arange(64) > 20).float().expand(1, 1, 64, 64),
}


@pytest.mark.parametrize("level", [Level(400.0, 0.8, 0.6), Level(400.0, 1.0, 7.0)], ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_under_every_mask_the_state_keeps_its_noise(mask, level):
    phi, count = LowPassFilter(4), 96
    eps, noise = random(count, 3, 64, 64), ItemNoise(range(count))
    reference = NoisedReference(torch.zeros(1, 3, 64, 64), mask=MASKS[mask])
    refined = Refinement(reference, phi).state(level.noise * eps, level, noise) / level.noise
    assert (refined - eps).std() > 0.01
    for before, after in ((eps, refined), (phi(eps), phi(refined))):
        assert abs(after.var() / before.var() - 1) < 0.02
        columns = after.var((0, 1, 2)) / before.var((0, 1, 2))
        assert (columns - 1).abs().max() < 0.1  # at the border of a mask too


def test_the_greyer_a_mask_the_more_is_followed():
    x, y, phi = random(1, 3, 32, 32), random(1, 3, 32, 32, seed=1), LowPassFilter(4)
    followed = []
    for grey in (0.0, 0.5, 0.7, 1.0):
        reference = NoisedReference(y, mask=torch.full((1, 1, 32, 32), grey))
        refined = Refinement(reference, phi).finished(x)
        followed.append(((phi(refined - x) * phi(y - x)).sum() / phi(y - x).square().sum()).item())
    steps_of = [1 - (1 - grey) ** (1 / 9) for grey in (0.0, 0.5, 0.7, 1.0)]
    assert followed == pytest.approx(steps_of, abs=1e-4)


def test_grey_in_a_mask_is_how_much_of_the_difference_goes_away():
    """On a Gaussian model whose pictures have nothing to do with the reference."""
    schedule = NoiseSchedule.linear()
    levels = schedule.karras(20)
    at = {level.t: level for level in levels}

    def denoiser(x, t):  # of white pictures of variance 1 / 4
        gain = at[t].signal / 4 / (at[t].signal ** 2 / 4 + at[t].noise ** 2)
        return (x - at[t].signal * gain * x) / at[t].noise

    phi, y, noise = LowPassFilter(4), random(16, 3, 32, 32) / 2, ItemNoise(range(16))
    followed = []
    for grey in (0.25, 0.5, 0.75):
        reference = NoisedReference(y, mask=torch.full((1, 1, 32, 32), grey))
        x = levels[0].noise * noise.draw("start", 1000, y)
        refinement = Refinement(reference, phi)
        *_, last = dpmpp_2m(denoiser, x, levels, noise, refinement, clip=False)
        followed.append(((phi(last.x) * y).sum() / phi(y).square().sum()).item())
    assert followed == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
