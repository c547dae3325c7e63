import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from resize_right import interp_methods, resize

from ilvr.low_pass import KERNELS, LowPassFilter

SIZES = [(64, 64), (37, 50), (33, 65), (128, 96), (17, 200)]
FACTORS = [1.5, 2, 3, 4, 5, 7.3, 8, 16, 20, 32]
PAIRS = [(size, factor) for size in SIZES for factor in FACTORS if factor < min(size) * 2]


@pytest.mark.parametrize("kernel", KERNELS)
def test_agrees_with_resize_right(kernel):
    assert len(PAIRS) >= 40
    method = getattr(interp_methods, kernel)
    rng = np.random.default_rng(0)
    for size, factor in PAIRS:
        x = rng.standard_normal(size)
        small = tuple(math.ceil(n / factor) for n in size)
        options = {"interp_method": method, "pad_mode": "symmetric"}
        down = resize(x, scale_factors=1 / factor, out_shape=small, **options)
        up = resize(down, scale_factors=factor, out_shape=size, **options)
        phi = LowPassFilter(factor, kernel, exact=False)
        tensor = torch.from_numpy(x).float()
        assert np.abs(phi.down(tensor).numpy() - down).max() < 1e-5, (size, factor)
        assert np.abs(phi(tensor).numpy() - up).max() < 1e-5, (size, factor)


shapes = st.tuples(st.integers(1, 80), st.integers(1, 80))
factors = st.one_of(st.floats(1, 3), st.floats(1, 100))


@settings(max_examples=150, deadline=None)
@given(shapes, factors, st.sampled_from(list(KERNELS)), st.integers(0, 2**32))
def test_exact_is_the_projection_on_the_downsampled_image(size, factor, kernel, seed):
    phi = LowPassFilter(factor, kernel)
    x, y = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))
    assert (phi(phi(x)) - phi(x)).abs().max() < 1e-5
    refined = x + phi(y - x)
    assert (phi.down(refined) - phi.down(y)).abs().max() < 1e-5


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 24), st.integers(1, 24)), factors, st.sampled_from(list(KERNELS)))
def test_exact_has_norm_one(size, factor, kernel):
    count = size[0] * size[1]
    rows = LowPassFilter(factor, kernel)(torch.eye(count).reshape(count, *size))
    assert torch.linalg.matrix_norm(rows.reshape(count, count), 2) <= 1.001


def test_the_papers_filter_is_no_projection():
    phi = LowPassFilter(8, exact=False)
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    assert (phi(phi(x)) - phi(x)).abs().max() > 0.01


@pytest.mark.parametrize("kernel", KERNELS)
def test_keeps_a_constant(kernel):
    x = torch.full((2, 45, 31), 0.7)
    assert (LowPassFilter(6.5, kernel, exact=False)(x) - x).abs().max() < 1e-5
    if not kernel.startswith("lanczos"):  # whose shifted kernels do not sum to a constant
        x = torch.full((2, 48, 32), 0.7)
        assert (LowPassFilter(8, kernel)(x) - x).abs().max() < 1e-5


def test_factor_one_is_the_identity_in_a_new_tensor():
    x = torch.randn(3, 9, 7)
    low = LowPassFilter(1)(x)
    assert torch.equal(low, x)
    assert low.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("factor", [40, 41.5, 1e9, math.inf])
def test_a_factor_of_both_sizes_is_the_mean(kernel, factor):
    x = torch.randn(2, 40, 30)
    mean = x.mean((-2, -1), keepdim=True).expand_as(x)
    for exact in (True, False):
        assert (LowPassFilter(factor, kernel, exact)(x) - mean).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_through_fp32(dtype):
    x = torch.randn(2, 3, 5, 33, 20).to(dtype)
    low = LowPassFilter(4)(x)
    assert low.dtype == dtype
    assert torch.equal(low, LowPassFilter(4)(x.float()).to(dtype))


def test_leading_axes_are_independent():
    x = torch.randn(2, 4, 3, 20, 31)
    phi = LowPassFilter(3)
    assert torch.allclose(phi(x)[1, 2, 0], phi(x[1, 2, 0]), atol=1e-6)


def test_used_first_in_inference_mode_it_still_takes_gradients():
    phi = LowPassFilter(5.25, "lanczos2")
    with torch.inference_mode():
        phi(torch.randn(47, 53))
    x = torch.randn(47, 53, requires_grad=True)
    phi(x).square().sum().backward()
    assert (x.grad - 2 * phi(x)).abs().max() < 1e-5  # grad of |Px|^2 is 2 Px


@pytest.mark.parametrize("factor", [0.99, 0, -3, math.nan])
def test_refuses_a_factor_below_one(factor):
    with pytest.raises(ValueError, match="factor of 1 or more is needed"):
        LowPassFilter(factor)


def test_refuses_an_unknown_kernel():
    with pytest.raises(ValueError, match=r"'nearest'.*cubic"):
        LowPassFilter(2, "nearest")


@pytest.mark.parametrize(
    ("factor", "pixels", "cells"), [(32, 8, 4), (8, 8, 1), (3, 8, 1), (6, 1, 6)]
)
def test_on_latents_the_factor_is_of_cells(factor, pixels, cells):
    low_pass = LowPassFilter(factor, "lanczos3", exact=False).on_cells(pixels)
    assert repr(low_pass) == repr(LowPassFilter(cells, "lanczos3", exact=False))


def test_whole_numbers_do_not_wrap():
    x = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(LowPassFilter(4)(x), LowPassFilter(4)(x.float()))
