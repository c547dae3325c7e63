"""Checkpoints that were made to break what reads them, or hold what no network is made of."""

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
