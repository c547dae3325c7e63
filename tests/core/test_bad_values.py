"""What the functions of the library say of values that they can't take."""

import numpy as np
import pytest
import torch

from ilvr import (
    ConditioningRange,
    ItemNoise,
    LowPassFilter,
    NoisedReference,
    NoiseSchedule,
    Refinement,
    dpmpp_2m,
)

PICTURE = torch.rand(1, 3, 8, 8) * 2 - 1


def says(message, function, *arguments, **options):
    with pytest.raises(ValueError, match=message) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)


UNUSUAL = {
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2, 2), torch.ones(3, 3)]),
    "sparse": lambda: torch.eye(4)[None].to_sparse(),
    "meta": lambda: torch.ones(1, 4, 4, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(1, 4, 4), 0.1, 0, torch.quint8),
    "complex": lambda: torch.ones(1, 4, 4, dtype=torch.complex64),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_tensors_are_named(kind):
    x = UNUSUAL[kind]()
    says(f"The image is a {kind} tensor; a plain one", LowPassFilter(2), x)
    says(f"The image is a {kind} tensor; a plain one", LowPassFilter(2).down, x)
    says(f"The reference is a {kind} tensor", NoisedReference, x)
    says(f"The mask is a {kind} tensor", NoisedReference, PICTURE, mask=x)


@pytest.mark.parametrize("given", [None, "picture", [1.0], 3, np.array(["a"]), np.ones(2) * 1j])
def test_what_is_no_tensor_is_named(given):
    kind = type(given).__name__
    says(f"The image is a {kind}; a tensor is needed", LowPassFilter(2), given)
    says(f"The reference is a {kind}; a tensor is needed", NoisedReference, given)


@pytest.mark.parametrize("shape", [(), (4,), (0, 3, 4, 4), (1, 3, 0, 4)])
def test_axes_that_are_missing_or_empty_are_named(shape):
    says("The image has the shape", LowPassFilter(2), torch.zeros(shape))
    says("The reference has the shape", NoisedReference, torch.zeros(shape))


def test_masks_lie_between_0_and_1():
    for value in (255.0, -0.5, torch.nan):
        mask = torch.full((1, 1, 8, 8), value)
        says("The mask has values from .*; give it values fr", NoisedReference, PICTURE, mask=mask)


def test_a_reference_is_finite():
    says("The reference has values that are not finite", NoisedReference, PICTURE / 0)


def test_arrays_and_whole_numbers_are_taken():
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8), dtype=np.uint8)
    for given in (picture, picture.astype(">i2"), picture[..., ::-1]):
        wanted = LowPassFilter(4)(torch.from_numpy(given.astype(np.float32)))
        assert wanted.max() > 140
        for x in (given, torch.from_numpy(given.astype(np.int32))):
            assert torch.equal(LowPassFilter(4)(x), wanted)
    y = NoisedReference(picture).clean(torch.zeros(1, 3, 8, 8))
    assert torch.equal(y, torch.from_numpy(picture).float())


def test_a_range_is_a_range():
    reference = NoisedReference(PICTURE)
    for given in ((1000, 500), 500, None, "1000-500"):
        says("a ConditioningRange is needed", Refinement, reference, LowPassFilter(2), given)
    assert Refinement(reference, LowPassFilter(2), ConditioningRange(1000, 500)).range.end == 500


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_prediction_that_is_not_finite_stops_the_run(value):
    schedule = NoiseSchedule.linear()
    steps = dpmpp_2m(
        lambda x, t: torch.full_like(x, value if t < 700 else 0.0), PICTURE, schedule.karras(6),
        ItemNoise([0]),
    )  # fmt: skip
    says(r"The prediction at timestep [1-6]\d\d(\.\d+)? is not finite", list, steps)
