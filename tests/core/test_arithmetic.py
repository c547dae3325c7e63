"""The data type that a machine computes in, and batches that its memory does not hold."""

from pathlib import Path

import pytest
import torch

from ilvr import sample
from ilvr.model import ACTIVATIONS, free_memory
from ilvr.settings import DTYPES, Settings, fastest_dtype

from .tiny import CONFIGURATIONS, model

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.exists(), reason="Linux tells what a processor can do")
def test_bfloat16_is_taken_where_the_processor_has_it_and_nowhere_else():
    flags = set(CPUINFO.read_text().split())
    native = {"avx512_bf16", "amx_tile"} & flags
    assert fastest_dtype("cpu") == ("bfloat16" if native else "float32")


def test_bfloat16_is_taken_on_gpus_that_compute_in_it():
    if not torch.cuda.is_available():
        pytest.skip("the GPU's data type: there is none here")
    ampere = torch.cuda.get_device_capability()[0] >= 8
    assert fastest_dtype("cuda") == ("bfloat16" if ampere else "float32")


def test_other_devices_compute_in_float32():
    assert fastest_dtype("meta") == "float32"


def test_the_type_that_is_used_is_told():
    assert Settings(out=Path("o"), device="cpu").precision() == fastest_dtype("cpu")
    for name in DTYPES:
        assert Settings(out=Path("o"), dtype=name).precision("cpu") == name


def test_a_batch_is_taken_in_as_many_parts_as_the_memory_asks_for():
    tiny = model(CONFIGURATIONS["unconditional"])
    picture = ACTIVATIONS * 32 * 16**2 * 4
    assert [tiny.at_once(8, free) for free in (0, picture, 3 * picture, 100 * picture)] == [
        1,
        1,
        3,
        8,
    ]
    assert tiny.at_once(8) == 8 and free_memory(tiny.device) > picture


@pytest.mark.parametrize("name", ["unconditional", "conditional_heads"])
def test_a_batch_in_parts_is_the_batch(name):
    tiny, label = model(CONFIGURATIONS[name]), None if name == "unconditional" else 3
    whole = sample(tiny, [0, 1, 2], steps=3, label=label)
    sizes = []
    tiny.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    tiny.at_once = lambda count: 2
    parts = sample(tiny, [0, 1, 2], steps=3, label=label)
    assert sizes == [2, 1] * 3 and (parts - whole).abs().max() < 1e-3
