"""State dicts in files and folders, read without running what a file may hold."""

import io
import re
import zipfile
from collections.abc import Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..autoencoder import COMPRESSION, PREFIXES
from ..values import parsed, printable, unusual
from . import diffusers, pickles
from .layouts import OtherKind, layout_of, other_kind, probes

EXPANSION = 16  # memory for weights, in sizes of their file: packed, or shared by many keys
ZIP = b"PK\x03\x04"
PICKLES = 5  # in a file that is no zip, before its weights
# What torch says of a pickle that wants more than weights.
CODE_IN_PICKLE = r"(?i)unsupported (global|class)|call reduce for unrecognized|blocked module"


def read_state_dict(path: str | Path) -> tuple[dict[str, Tensor], dict, dict[str, Tensor]]:
    """The state dict in a file or folder, in a layout of its own, EMA weights first and prefixes
    removed; what stands beside it of its configuration; and the weights of an autoencoder."""
    file = path = Path(path)
    if path.is_dir():
        file = diffusers.weights_file(path)
    elif not path.is_file():
        raise ValueError(f"{path}: there is no such checkpoint file.")

    content, metadata = (_safetensors if file.suffix == ".safetensors" else _torch)(file)
    state = _weights_in(content)
    if not state:
        raise ValueError(f"{file} holds no weights; the checkpoint of a U-Net is needed.")
    autoencoder = {name: state[name] for name in state if name.startswith(PREFIXES)}
    network = {name: state[name] for name in state if name not in autoencoder}
    if kind := other_kind(network or state):
        raise OtherKind(file, kind)
    if autoencoder:
        metadata = {"compression": COMPRESSION} | metadata

    found = [prefix for prefix, _ in probes(state)]
    prefix = max(found, key=lambda prefix: "ema" in prefix)
    state = {
        name.removeprefix(prefix): tensor.detach()
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    _check(file, state | autoencoder)
    if layout_of(state).name == "diffusers":
        metadata = diffusers.configuration(file) | metadata
    return state, metadata, autoencoder


def _safetensors(path):
    try:
        with safe_open(path, "pt") as file:
            config = parsed((file.metadata() or {}).get("config", "{}"))
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except MemoryError:
        raise _Refused(path, "more than there is") from None
    except Exception:  # whatever a file of unknown content may raise
        raise ValueError(f"{path} is truncated or no safetensors file.") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} has a configuration that is no JSON object; get it again.")
    return content, config


def _torch(path):
    try:
        mapped = _bounded(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped), {}
    except (_Refused, _Code):
        raise
    except MemoryError:
        raise _Refused(path, "more than there is") from None
    except Exception as error:  # whatever a file of unknown content may raise
        if re.search(CODE_IN_PICKLE, str(error)):
            raise _Code(path) from None
        raise ValueError(f"{path} is truncated or no PyTorch checkpoint.") from None


class _Code(ValueError):
    """Of a pickle of more than weights."""

    def __init__(self, path):
        super().__init__(
            f"{path} holds Python objects besides weights, which could run code, and was not "
            f"opened; get it as .safetensors, or save its weights alone where the project that "
            f"made it is installed."
        )


class _Refused(ValueError):
    """Of a file that would take more memory than it may, or than there is."""

    def __init__(self, path, much=f"more than {EXPANSION} times its own size"):
        super().__init__(
            f"{path} would fill {much} in memory; it is damaged, was made to do harm, or is too "
            f"large for this machine."
        )


def _bounded(path) -> bool:
    """Whether a file's records lie in it as they are, and can be mapped instead of read.

    Raises _Refused, before anything of it is built, where reading would take more than
    `EXPANSION` allows: packed records, or pickles that ask for too much.
    """
    size = path.stat().st_size
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if content[: len(ZIP)] != ZIP:  # as torch tells them apart
            for _ in range(PICKLES):
                _check_pickle(path, content)
            return False
    with zipfile.ZipFile(path) as file:
        records = file.infolist()
        if sum(record.file_size for record in records) > EXPANSION * size:
            raise _Refused(path)
        for record in records:
            if record.filename.endswith(".pkl"):
                _check_pickle(path, io.BytesIO(file.read(record)))
    return all(record.compress_type == zipfile.ZIP_STORED for record in records)


def _check_pickle(path, file):
    start = file.tell()
    try:
        pickles.check(file, EXPANSION, EXPANSION * path.stat().st_size)
    except pickles.TooMuch:
        file.seek(start)
        raise (_Code if pickles.foreign(file) else _Refused)(path) from None


def _check(file, state):
    """ValueError unless all are plain arrays of finite floating-point numbers, within bounds."""
    for name, weight in state.items():
        kind = unusual(weight) or ("" if weight.is_floating_point() else str(weight.dtype)[6:])
        if kind:
            raise ValueError(
                f"{file}: {printable(name)} is a tensor of {kind} values; floating-point numbers "
                f"are needed."
            )
    if sum(weight.nbytes for weight in state.values()) > EXPANSION * file.stat().st_size:
        raise _Refused(file)
    for name, weight in state.items():
        numbers = weight if weight.itemsize > 1 else weight.float()  # of 8 bits
        if not numbers.isfinite().all():
            raise ValueError(
                f"{file}: {printable(name)} has values that are not finite; the file is damaged."
            )


def _weights_in(content) -> dict[str, Tensor]:
    """The state dict in a nest of dicts, of a U-Net and of EMA weights if there is one."""

    def preference(found):
        ema, state = found
        return any(probes(state)), ema, len(state)

    return max(_state_dicts(content), key=preference, default=(False, {}))[1]


def _state_dicts(content):
    """(whether the names that lead to it have "ema" in them, tensors) of each dict within."""
    waiting, seen = [(False, content)], set()
    while waiting:
        ema, found = waiting.pop()
        if isinstance(found, Mapping) and id(found) not in seen:
            seen.add(id(found))
            named = {key: value for key, value in found.items() if isinstance(key, str)}
            yield ema, {key: value for key, value in named.items() if isinstance(value, Tensor)}
            inner = [(ema or "ema" in key, value) for key, value in named.items()]
            waiting += reversed(inner)
