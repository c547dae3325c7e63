import math

import pytest
import torch

from ilvr import LowPassFilter, NoisedReference, match_low_frequencies


def smooth(seed, size=96):
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
    low = LowPassFilter(16)(noise)
    return low / low.abs().max()


def detailed(seed, amount=0.2):
    noise = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(seed))
    return (0.5 * smooth(seed) + amount * noise).clamp(-1, 1)


def in_8_bits(x):
    return ((x + 1) * 127.5).round() / 127.5 - 1


def decibels(a, b):
    return -10 * math.log10((a - b).div(2).square().mean())


@pytest.mark.parametrize("factor", [8, 16, 32])
@pytest.mark.parametrize("shade, least", [(0.0, 70), (-0.93, 60), (0.93, 60), (-0.99, 50)])
def test_the_downsampled_images_agree_in_8_bits(factor, shade, least):
    y = shade + (1 - abs(shade)) * 0.8 * smooth(1)
    x, phi = detailed(2), LowPassFilter(factor)
    matched = in_8_bits(match_low_frequencies(x, NoisedReference(y), phi))
    assert decibels(phi.down(matched), phi.down(y)) > least > decibels(phi.down(x), phi.down(y))
    assert matched.abs().max() <= 1


def test_nothing_else_changes_where_nothing_is_clipped():
    x, y, phi = 0.5 * detailed(2), 0.3 * smooth(1), LowPassFilter(8)
    matched = match_low_frequencies(x, NoisedReference(y), phi)
    assert ((matched - phi(matched)) - (x - phi(x))).abs().max() < 1e-5


def test_outside_the_mask_the_image_stays():
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., :48] = 1
    x, y, phi = 0.5 * detailed(2), 0.3 * smooth(1), LowPassFilter(8)
    matched = match_low_frequencies(x, NoisedReference(y, mask=mask), phi)
    assert torch.equal(matched[..., 48:], x[..., 48:])
    inner = (phi.down(matched) - phi.down(y))[..., :4]
    assert inner.abs().max() < 0.02 < (phi.down(x) - phi.down(y))[..., :4].abs().max()
