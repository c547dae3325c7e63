"""Checkpoints that were made to break what reads them, or hold what no network is made of."""

import argparse
import codecs
import collections
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from ilvr import convert, inspect, load

from .tiny import CONFIGURATIONS, state_dict

TINY = CONFIGURATIONS["unconditional"]
HEADS = {"num_head_channels": 16, "image_size": 16}
BIAS = "out.2.bias"


def repacked(path, compression=zipfile.ZIP_DEFLATED):
    """A zip with its records compressed."""
    target = path.with_stem(f"{path.stem}-packed")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", compression) as file:
        for record in source.infolist():
            file.writestr(record.filename, source.read(record))
    return target


def write(path, **changes):
    """A checkpoint of the tiny model with other values of some keys, or with other keys."""
    torch.save(state_dict(TINY) | changes, path)
    return path


def refused(path, message, use=load, **options):
    with pytest.raises(ValueError, match=message) as error:
        use(path, **options)
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)
    assert path.name in str(error.value)


def test_deflated_records_are_read(tmp_path):
    path = write(tmp_path / "a.pt")
    packed = repacked(path)
    assert packed.stat().st_size < path.stat().st_size
    wanted = load(path, overrides=HEADS).network.state_dict()
    found = load(packed, overrides=HEADS).network.state_dict()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64, torch.int8]
)
def test_weights_are_floating_point_numbers(tmp_path, dtype):
    path = write(tmp_path / "a.pt", **{BIAS: torch.ones(6).to(dtype)})
    kind = "complex" if dtype.is_complex else str(dtype).removeprefix("torch.")
    refused(path, rf"out\.2\.bias is a tensor of {kind} values; floating-point", overrides=HEADS)
    refused(path, kind, use=convert, target=tmp_path / "b.safetensors", overrides=HEADS)
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_of_any_precision_are_taken(tmp_path, dtype):
    state = {name: value.to(dtype) for name, value in state_dict(TINY).items()}
    torch.save(state, tmp_path / "a.pt")
    loaded = load(tmp_path / "a.pt", overrides=HEADS).network.state_dict()
    assert all(torch.equal(loaded[name], state[name].float()) for name in state)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("use", [inspect, load])
def test_keys_reach_the_terminal_without_their_control_characters(tmp_path, capsys, suffix, use):
    key = "\x1b]0;title\x07\nnew\u202eline"
    state = state_dict(TINY) | {key: torch.ones(1)}
    path = tmp_path / f"a{suffix}"
    torch.save(state, path) if suffix == ".pt" else save_file(state, path)
    refused(path, r"unknown: \\x1b\]0;title\\x07\\nnew\\u202eline", use=use, overrides=HEADS)


NO_ARRAYS = {
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "sparse": lambda: torch.ones(6).to_sparse(),
    "meta": lambda: torch.ones(6, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(6), 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", NO_ARRAYS)
@pytest.mark.parametrize("use", [inspect, load])
def test_tensors_that_are_no_arrays_are_refused(tmp_path, kind, use):
    path = write(tmp_path / "a.pt", **{BIAS: NO_ARRAYS[kind]()})
    refused(path, rf"out\.2\.bias is a tensor of {kind} values", use=use, overrides=HEADS)


def test_dicts_within_themselves_and_shared_ones_are_walked_once(tmp_path):
    inner = {"ema": state_dict(TINY)}
    for _ in range(60):
        inner = {"a": inner, "b": inner}
    inner["self"] = inner
    torch.save(inner, tmp_path / "a.pt")
    assert inspect(tmp_path / "a.pt").configuration.model_channels == 32
    deep = {}
    for _ in range(300):
        deep = {"a": deep, "model": deep}
    torch.save(deep, tmp_path / "b.pt")
    refused(tmp_path / "b.pt", "holds no weights")


class Bytes:
    """In a pickle, a length."""

    def __reduce__(self):
        return bytearray, (3 * 10**9,)


def test_what_would_fill_the_memory_is_refused_before(tmp_path):
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "zip.pt")
    write(tmp_path / "expanded.pt", **{BIAS: torch.ones(1).expand(10**9)})
    same = torch.ones(100_000)
    write(tmp_path / "shared.pt", **{f"key {i}": same for i in range(2000)})
    write(tmp_path / "bytes.pt", rest=Bytes())
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"a": Bytes()}, protocol=2))
    packed = repacked(tmp_path / "zip.pt")
    for path in (packed, *(tmp_path / f"{n}.pt" for n in ("expanded", "shared", "bytes", "old"))):
        refused(path, "would fill more than 16 times its own size in mem")


class Call:
    """In a pickle, a function with its arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def nested(make, times):
    value = ()
    for _ in range(times):
        value = make(value)
    return value


def operations(value):
    """Those of the pickle of a value."""
    return pickle.dumps(value, protocol=2)[2:-1]


SHARED = operations(nested(lambda value: (value, value), 40))
DICTS = nested(lambda value: {"a": value, "b": value}, 40)
HANGS = {
    "key": b"}" + SHARED + b"Ns",
    "keys": b"}(" + SHARED + b"Nu",
    "deep key": b"})" + b"\x85" * 100_000 + b"Ns",
    "equal keys": operations({i * (2**61 - 1): i for i in range(50, 2000)}),
    "counter": operations(Call(collections.Counter, [1])).replace(b"K\x01", SHARED),
    "scheme": operations(Call(torch._utils._rebuild_qtensor, 1, 2, (3,), 4, (DICTS,), 0, 0)),
    "device": operations(Call(torch.device, DICTS)),
    "list": operations(Call(torch.Tensor, nested(lambda value: [value, value], 40))),
    "digits": operations(nested(lambda value: Call(codecs.encode, value or "a", "hex"), 40)),
    "no function": operations(DICTS) + b")R",
    "no storage": operations(("storage", DICTS)) + b"Q",
    "within itself": b"}q\x00X\x01\x00\x00\x00a(h\x00h\x00ls)R",
}


@pytest.mark.parametrize("name", HANGS)
def test_what_would_take_for_ever_is_refused_before(tmp_path, name):
    old, new = tmp_path / "old.pt", tmp_path / "new.pt"
    old.write_bytes(b"\x80\x02" + HANGS[name] + b".")
    with zipfile.ZipFile(write(tmp_path / "a.pt")) as source, zipfile.ZipFile(new, "w") as target:
        for record in source.infolist():
            bad = record.filename.endswith("data.pkl")
            target.writestr(record.filename, old.read_bytes() if bad else source.read(record))
    for path in (old, new):
        refused(path, "would fill more than 16 times its own size in memory")


def test_tensors_larger_than_the_file_are_not_read_number_by_number(tmp_path):
    much, copied = torch.ones(1).expand(10**9), torch._utils._rebuild_device_tensor_from_cpu_tensor
    for call in (Call(copied, much, torch.float64, "cpu", False), Call(set, much)):
        refused(write(tmp_path / "a.pt", rest=call), "would fill more than 16 times")
    refused(write(tmp_path / "a.pt", rest=Call(set, torch.ones(9))), "would fill more than 16")


def test_what_training_leaves_is_no_harm(tmp_path):
    network = TINY.network()
    moments = {i: {"step": 3, "exp_avg": weight} for i, weight in enumerate(network.parameters())}
    content = {
        "state_dict": network.state_dict(), "ema": dict(network.named_parameters()),
        "optimizer": {"state": moments, "param_groups": [{"betas": (0.9, 0.999)}]},
        (1, (2, "a")): [torch.Size([2]), {3}, 2**70, b"bytes"],
        "counts": collections.Counter("abc"), "device": torch.device("cpu"), "tags": {(1, 2): 3},
        "shared": [(0.9, 0.999)] * 1000,
    }  # fmt: skip
    for packed in (True, False):
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=packed)
        assert load(tmp_path / "a.pt", overrides=HEADS).configuration.model_channels == 32


def test_objects_are_refused_as_such_however_they_hang_together(tmp_path):
    thing = argparse.Namespace(parts=[])
    thing.parts.append(thing)
    torch.save({"state_dict": state_dict(TINY), "arguments": thing}, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "holds Python objects besides weights")


def test_tied_weights_are_loaded_and_converted(tmp_path):
    state = state_dict(TINY)
    state["out.0.bias"] = state["out.0.weight"]
    torch.save(state, tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "b.safetensors", HEADS)
    found = load_file(tmp_path / "b.safetensors")
    assert torch.equal(found["out.0.bias"], state["out.0.weight"])
    assert load(tmp_path / "b.safetensors").configuration.num_head_channels == 16


def test_parameters_are_weights(tmp_path):
    torch.save(dict(TINY.network().named_parameters()), tmp_path / "a.pt")
    assert not load(tmp_path / "a.pt", overrides=HEADS).network.out[2].weight.requires_grad


def test_convert_refuses_what_load_refuses(tmp_path):
    path = write(tmp_path / "a.pt", **{BIAS: torch.full((6,), float("inf"))})
    for use in (inspect, load):
        refused(path, "has values that are not finite", use=use, overrides=HEADS)
    target = tmp_path / "b.safetensors"
    refused(path, "are not finite", use=convert, target=target, overrides=HEADS)
    assert not target.exists()
