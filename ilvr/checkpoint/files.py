"""State dicts in files and folders, read without running what a file may hold."""

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..autoencoder import COMPRESSION, PREFIXES
from . import diffusers
from .layouts import OtherKind, layout_of, other_kind, probes

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
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    if layout_of(state).name == "diffusers":
        metadata = diffusers.configuration(file) | metadata
    return state, metadata, autoencoder


def _safetensors(path):
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, config  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is truncated or no safetensors file ({error}).") from None


def _torch(path):
    try:
        mmap = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap), {}
    except MemoryError:
        raise
    except Exception as error:  # whatever a file of unknown content may raise
        if re.search(CODE_IN_PICKLE, str(error)):
            raise ValueError(
                f"{path} holds Python objects besides weights, which could run code, and was not "
                f"opened; get it as .safetensors, or save its weights alone where the project "
                f"that made it is installed."
            ) from None
        raise ValueError(f"{path} is truncated or no PyTorch checkpoint.") from None


def _weights_in(content) -> dict[str, Tensor]:
    """The state dict in a nest of dicts, of a U-Net and of EMA weights if there is one."""

    def preference(found):
        name, state = found
        return any(probes(state)), "ema" in name, len(state)

    return max(_state_dicts(content), key=preference, default=("", {}))[1]


def _state_dicts(content, name=""):
    """(name, tensors) of a dict and of the dicts within it."""
    if isinstance(content, Mapping):
        yield name, {str(key): v for key, v in content.items() if isinstance(v, Tensor)}
        for key, value in content.items():
            yield from _state_dicts(value, f"{name}.{key}")
