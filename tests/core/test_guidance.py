import math

import pytest
import torch

from ilvr import ConditioningRange, ItemNoise, LowPassFilter, NoisedReference, Refinement
from ilvr.schedule import CLEAN, Level

LEVEL = Level(t=400.0, signal=0.8, noise=0.6)


def picture(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_noise_of_an_item_is_the_same_in_every_batch():
    like = torch.empty(5, 3, 8, 9)
    batch = ItemNoise([4, 9, 9, 0, 2**40]).draw("reference", 123.4, like)
    for i, seed in enumerate([4, 9, 9, 0, 2**40]):
        alone = ItemNoise([seed]).draw("reference", 123.4, like[:1])
        assert torch.equal(batch[i], alone[0])
    assert abs(batch.std() - 1) < 0.1


def test_noise_differs_by_seed_level_and_stream():
    like = torch.empty(1, 3, 8, 8)
    draws = [
        ItemNoise([seed]).draw(stream, t, like)
        for seed in (0, 1)
        for stream in ("start", "sampler", "reference")
        for t in (0, 400, 400.25, 1000)
    ]
    for i, a in enumerate(draws):
        assert all((a - b).abs().max() > 1 for b in draws[:i])


def test_noise_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    ItemNoise([1]).draw("start", 1000, torch.empty(1, 3, 4, 4))
    assert torch.equal(before, torch.random.get_rng_state())


def test_noise_needs_a_seed_for_each_item():
    with pytest.raises(ValueError, match="2 seeds were given for a batch of 3"):
        ItemNoise([0, 1]).draw("start", 1000, torch.empty(3, 1, 2, 2))


def test_reference_is_noised_to_the_level_by_eq_3():
    y, noise = picture(2, 3, 8, 8), ItemNoise([5, 6])
    noised = NoisedReference(y).noised(LEVEL, y, noise)
    assert torch.equal(noised, 0.8 * y + 0.6 * noise.draw("reference", 400.0, y))
    assert torch.equal(NoisedReference(y).noised(CLEAN, y, noise), y)


def test_fixed_noise_is_one_for_all_levels_and_fresh_noise_is_not():
    y, noise = torch.zeros(1, 3, 8, 8), ItemNoise([0])
    levels = [LEVEL, Level(700.0, 0.8, 0.6)]
    fixed = [NoisedReference(y, "fixed").noised(level, y, noise) for level in levels]
    fresh = [NoisedReference(y, "fresh").noised(level, y, noise) for level in levels]
    assert torch.equal(*fixed)
    assert not torch.equal(*fresh)


def test_a_seed_of_its_own_replaces_the_samplers():
    y = picture(1, 3, 8, 8)
    own = NoisedReference(y, seed=7)
    a, b = (own.noised(LEVEL, y.expand(2, -1, -1, -1), ItemNoise(s)) for s in ([0, 1], [2, 3]))
    assert torch.equal(a, b)
    assert not torch.equal(a[0], a[1])


def test_references_and_masks_cycle_to_the_batch():
    y = picture(2, 3, 4, 4)
    reference = NoisedReference(
        y, mask=torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1).expand(2, 1, 4, 4)
    )
    like = torch.empty(3, 3, 4, 4)
    assert torch.equal(reference.clean(like), y[[0, 1, 0]])
    assert reference.mask_for(like)[:, 0, 0, 0].tolist() == [1, 0, 1]


def test_reference_says_what_does_not_fit():
    with pytest.raises(ValueError, match="mask is 4 x 5 and the reference 4 x 4"):
        NoisedReference(torch.empty(1, 3, 4, 4), mask=torch.empty(1, 1, 4, 5))
    with pytest.raises(ValueError, match=r"\(1, 3, 4, 4\) and the state \(2, 4, 4, 4\)"):
        NoisedReference(torch.empty(1, 3, 4, 4)).clean(torch.empty(2, 4, 4, 4))
    with pytest.raises(ValueError, match="fresh or fixed"):
        NoisedReference(torch.empty(1, 3, 4, 4), noise="some")


@pytest.mark.parametrize("phi", [LowPassFilter(4), LowPassFilter(3, "box", exact=False)])
def test_state_is_eq_8(phi):
    x, y, noise = picture(2, 3, 16, 16), picture(2, 3, 16, 16, seed=1), ItemNoise([0, 1])
    reference = NoisedReference(y)
    y_t = reference.noised(LEVEL, x, noise)
    refined = Refinement(reference, phi).state(x, LEVEL, noise)
    assert torch.allclose(refined, phi(y_t) + x - phi(x), atol=1e-5)


def test_state_is_refined_inside_the_range_alone():
    x, reference, noise = (
        picture(1, 3, 8, 8),
        NoisedReference(torch.zeros(1, 3, 8, 8)),
        ItemNoise([0]),
    )
    for start, end, inside in [
        (1000, 0, True), (400, 400, True), (400, 0, True), (1000, 400, True),
        (399.9, 0, False), (1000, 400.1, False),
    ]:  # fmt: skip
        refinement = Refinement(reference, LowPassFilter(2), ConditioningRange(start, end))
        assert torch.equal(refinement.state(x, LEVEL, noise), x) != inside


def test_finished_image_is_refined_when_the_range_ends_at_zero():
    x, y, noise = picture(1, 3, 8, 8), picture(1, 3, 8, 8, seed=1), ItemNoise([0])
    phi = LowPassFilter(2)
    to_zero = Refinement(NoisedReference(y), phi).state(x, CLEAN, noise)
    assert torch.allclose(phi(to_zero), phi(y), atol=1e-5)
    to_one = Refinement(NoisedReference(y), phi, ConditioningRange(1000, 1))
    assert torch.equal(to_one.state(x, CLEAN, noise), x)


def test_released_code_noises_to_the_level_left_and_spares_the_finished_image():
    x, y, noise = picture(1, 3, 8, 8), picture(1, 3, 8, 8, seed=1), ItemNoise([0])
    phi, left = LowPassFilter(2), Level(500.0, 0.6, 0.8)
    refinement = Refinement(NoisedReference(y), phi, released=True)
    refined = refinement.state(x, LEVEL, noise, left)
    y_left = 0.6 * y + 0.8 * noise.draw("reference", 500.0, y)
    assert torch.allclose(refined, x + phi(y_left - x), atol=1e-6)
    assert torch.equal(refinement.state(x, CLEAN, noise, LEVEL), x)


def test_outside_the_mask_nothing_moves_and_nothing_there_has_influence():
    x, noise = picture(1, 3, 16, 16), ItemNoise([0])
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    y = picture(1, 3, 16, 16, seed=1)
    refined = Refinement(NoisedReference(y, mask=mask), LowPassFilter(4)).state(x, CLEAN, noise)
    assert torch.equal(refined[..., 8:], x[..., 8:])
    y[..., 8:] = 100
    again = Refinement(NoisedReference(y, mask=mask), LowPassFilter(4)).state(x, CLEAN, noise)
    assert torch.equal(refined, again)


def test_inpainting_at_factor_one_gives_the_known_pixels_back():
    x, y, noise = picture(1, 3, 16, 16), picture(1, 3, 16, 16, seed=1), ItemNoise([0])
    mask = (picture(1, 1, 16, 16, seed=2) > 0).float()
    refined = Refinement(NoisedReference(y, mask=mask), LowPassFilter(1)).state(x, CLEAN, noise)
    assert (mask * (refined - y)).abs().max() < 1e-6
    assert torch.equal((1 - mask) * refined, (1 - mask) * x)


def test_prediction_form():
    x0, y = picture(1, 3, 8, 8), picture(1, 3, 8, 8, seed=1)
    phi, reference = LowPassFilter(2), NoisedReference(y)
    full = Refinement(reference, phi, guide="prediction").prediction(x0, LEVEL)
    assert torch.allclose(full, x0 + phi(y - x0), atol=1e-6)
    half = Refinement(reference, phi, guide="prediction", strength=0.5).prediction(x0, LEVEL)
    weight = 1 - 0.5 ** (1 / 9)
    assert torch.allclose(half, x0 + weight * phi(y - x0), atol=1e-6)
    none = Refinement(reference, phi, guide="prediction", strength=0.0)
    assert torch.equal(none.prediction(x0, LEVEL), x0)
    assert torch.equal(none.state(x0, LEVEL, ItemNoise([0])), x0)
    assert torch.equal(Refinement(reference, phi).prediction(x0, LEVEL), x0)


def test_half_precision_state_keeps_its_dtype():
    x = picture(1, 3, 8, 8).half()
    refinement = Refinement(NoisedReference(torch.zeros(1, 3, 8, 8)), LowPassFilter(2))
    assert refinement.state(x, LEVEL, ItemNoise([0])).dtype == torch.float16


@pytest.mark.parametrize(
    "start, end", [(0, 1000), (1000, -1), (1001, 0), (math.nan, 0), (500, math.nan)]
)
def test_refuses_ranges_outside_the_timesteps(start, end):
    with pytest.raises(ValueError, match="must run from a start of at most 1000"):
        ConditioningRange(start, end)


def test_refuses_a_strength_that_the_state_can_not_have():
    reference, phi = NoisedReference(torch.zeros(1, 3, 8, 8)), LowPassFilter(2)
    with pytest.raises(ValueError, match="guide prediction"):
        Refinement(reference, phi, strength=0.5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        Refinement(reference, phi, guide="prediction", strength=math.nan)
    with pytest.raises(ValueError, match="state or prediction"):
        Refinement(reference, phi, guide="both")
