"""What the functions of the library say of values that they can't take."""

import numpy as np
import pytest
import torch

import ilvr
from ilvr import (
    ConditioningRange,
    ItemNoise,
    LowPassFilter,
    NoisedReference,
    NoiseSchedule,
    Refinement,
    dpmpp_2m,
)
from ilvr.low_pass import BandPassFilter

from .tiny import CONFIGURATIONS, model

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


STRANGE = [None, "text", [], [1], {}, object(), b"a", 1j, np.ones(2), torch.ones(2), torch.nan]
REFERENCE, FILTER, SCHEDULE = NoisedReference(PICTURE), LowPassFilter(2), NoiseSchedule.linear()
TINY = model(CONFIGURATIONS["conditional_heads"])
META = torch.ones(1, 3, 8, 8, device="meta")

TAKEN = {  # a function of one value, and those which it must refuse
    "factor": (LowPassFilter, [*STRANGE, 0.5, -1]),
    "finest": (BandPassFilter, [*STRANGE, 0.5]),
    "coarsest": (lambda x: BandPassFilter(2, x), [*STRANGE, 1]),
    "kernel": (lambda x: LowPassFilter(2, x), STRANGE),
    "image": (LowPassFilter(2), [*STRANGE[:-3], META]),
    "start": (ConditioningRange, [*STRANGE, 1001, -1]),
    "end": (lambda x: ConditioningRange(500, x), [*STRANGE, 501]),
    "range": (ConditioningRange.parse, STRANGE),
    "seeds": (ItemNoise, [x for x in STRANGE if x is not STRANGE[3]] + [[-1], [0.5], ["a"], 3]),
    "like": (lambda x: ItemNoise([0]).draw("start", 1, x), [*STRANGE[:-3], META[:0]]),
    "stream": (lambda x: ItemNoise([0]).draw(x, 1, PICTURE), STRANGE),
    "reference": (NoisedReference, [*STRANGE, META, PICTURE[:0]]),
    "noise": (lambda x: NoisedReference(PICTURE, x), STRANGE),
    "mask": (lambda x: NoisedReference(PICTURE, mask=x), [*STRANGE[1:], META, PICTURE[:0]]),
    "seed": (lambda x: NoisedReference(PICTURE, seed=x), ["text", [], 0.5, {}, [-1]]),
    "refined": (lambda x: Refinement(x, FILTER), STRANGE),
    "filter": (lambda x: Refinement(REFERENCE, x), STRANGE),
    "guide": (lambda x: Refinement(REFERENCE, FILTER, guide=x), STRANGE),
    "strength": (lambda x: Refinement(REFERENCE, FILTER, strength=x), [*STRANGE, 2]),
    "matched": (lambda x: ilvr.match_low_frequencies(x, REFERENCE, FILTER), [*STRANGE, META]),
    "betas": (NoiseSchedule, [x for x in STRANGE if not isinstance(x, torch.Tensor)] + [[0]]),
    "length": (NoiseSchedule.linear, [*STRANGE, 0, 1.5, 10**9]),
    "cosine": (NoiseSchedule.cosine, [*STRANGE, 0, 10**9]),
    "beta_range": (lambda x: NoiseSchedule.linear(1000, x), [*STRANGE[1:], [1, 1], ["a", "b"]]),
    "named": (NoiseSchedule.named, STRANGE),
    "karras": (SCHEDULE.karras, [*STRANGE, 0, 1001, 2.5]),
    "respaced": (SCHEDULE.respaced, [None, "text", object(), 1j, 0, 10**9, [[]], "ddim", "1,,"]),
    "load": (ilvr.load, [*STRANGE, "", "/", "n" * 300, "\0"]),
    "device": (lambda x: ilvr.load(device=x), ["text", "meta", [], object(), "cuda:99", "mps:3"]),
    "dtype": (lambda x: ilvr.load(dtype=x), [*STRANGE, torch.int8, torch.complex64]),
    "overrides": (lambda x: ilvr.load(overrides=x), [*STRANGE[1:4], *STRANGE[5:], {1: 1}]),
    "convert": (lambda x: ilvr.convert(x, "a.safetensors"), STRANGE),
    "target": (
        lambda x: ilvr.convert(ilvr.checkpoint.DEFAULT, x), [*STRANGE, "", "\0.safetensors"],
    ),
    "load_image": (lambda x: ilvr.load_image(x, 16), [*STRANGE, "", "\0"]),
    "size": (lambda x: ilvr.load_image(__file__, x), [*STRANGE, 0, -1, 10**9]),
    "channels": (lambda x: ilvr.load_image(__file__, 16, x), [*STRANGE, 2]),
    "load_mask": (lambda x: ilvr.load_mask(x, 16, __file__), STRANGE),
    "to_images": (ilvr.to_images, [*STRANGE, PICTURE[0], PICTURE[:, :2], PICTURE / 0, META]),
    "rows": (ilvr.contact_sheet, [[], [[]], [[None]]]),
    "model": (lambda x: ilvr.sample(x, [0], label=0), STRANGE),
    "seeds of a sample": (lambda x: ilvr.sample(TINY, x, label=0, steps=1), [[], None, "a", [-1]]),
    "refinement": (lambda x: ilvr.sample(TINY, [0], x, label=0, steps=1), STRANGE[1:]),
    "label": (lambda x: ilvr.sample(TINY, [0], label=x, steps=1), [*STRANGE, -1, 5, True + 4]),
    **{
        name: (lambda x, name=name: ilvr.sample(TINY, [0], label=0, **{name: x}), values)
        for name, values in {
            "sampler": STRANGE, "spacing": STRANGE, "eta": STRANGE, "steps": STRANGE[1:],
            "respacing": ["text", {}, "0", 0, 1.5],
        }.items()
    },
    "x": (lambda x: list(dpmpp_2m(TINY.denoiser(0), x, [], ItemNoise([0]))), STRANGE),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_strange_values_are_refused_in_one_sentence(name):
    function, values = TAKEN[name]
    for value in values:
        with pytest.raises(ValueError) as error:
            function(value)
        said = str(error.value)
        assert "\n" not in said and 20 < len(said) < 600, (value, said)
