"""Checkpoints of ADM models and of those of Ho et al.: recognise, load, convert.

files.py reads state dicts, layouts.py knows the names that projects give their layers, in the terms
of names.py, diffusers.py the files beside a model of diffusers, published.py the published models;
recognise.py makes of these a configuration.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..disk import whole
from ..model import Configuration, DiffusionModel
from ..values import available_device
from .diffusers import settings_files
from .files import read_state_dict
from .layouts import OtherKind
from .published import PUBLISHED
from .recognise import Recognised, recognise, translated

__all__ = [
    "BUNDLED",
    "PUBLISHED",
    "Configuration",
    "DiffusionModel",
    "OtherKind",
    "Recognised",
    "convert",
    "inspect",
    "load",
    "read",
    "read_state_dict",
    "recognise",
    "save",
    "settings_files",
]

BUNDLED = Path(__file__).parents[1] / "assets" / "landscapes-64.safetensors"


def load(
    path: str | Path = BUNDLED, device="cpu", dtype=torch.float32, overrides: Mapping | None = None
) -> DiffusionModel:
    """The model of a checkpoint (.safetensors, or .pt/.pth/.bin holding weights alone).

    path: the file, or the folder of a model in the layout of diffusers. overrides: values of
    `Configuration` to use instead of the recognised ones. device: None takes the GPU if there is
    one. Raises ValueError for a file that is missing, damaged, of another kind, or has weights that
    are not finite, and for a device that is not there.
    """
    device = available_device(device)
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype is {dtype!r}; one of floating-point numbers is needed.")
    state, recognised = read(path, overrides)
    network = recognised.configuration.network(device="meta")
    for name in list(state):
        weight = state[name]
        # A copy is aligned and free of the file; with channels last, convolutions are faster.
        layout = torch.channels_last if weight.ndim == 4 else torch.preserve_format
        state[name] = weight.to(device, dtype, copy=True, memory_format=layout)
    network.load_state_dict(state, assign=True)
    network.dtype = dtype
    network.train(False).requires_grad_(False)
    return DiffusionModel(network, recognised.configuration, assumed=recognised.assumed)


def inspect(path: str | Path, overrides: Mapping | None = None) -> Recognised:
    """What `load` would recognise in the file or folder."""
    return read(path, overrides)[1]


def convert(source: str | Path, target: str | Path, overrides: Mapping | None = None) -> Recognised:
    """Writes the weights of a file or folder as one .safetensors in guided-diffusion's names, with
    their configuration as metadata."""
    if Path(target).suffix != ".safetensors":
        raise ValueError(f"{target}: convert writes .safetensors; give a name that ends so.")
    state, recognised = read(source, overrides)
    save(state, recognised.configuration, target)
    return recognised


def save(state: Mapping[str, Tensor], configuration: Configuration, target: str | Path):
    """Writes a state dict with its configuration, whole or not at all."""
    config = json.dumps(asdict(configuration))
    # Copies, since a file of safetensors holds no memory that two weights share.
    layout = torch.contiguous_format
    tensors = {name: tensor.clone(memory_format=layout) for name, tensor in state.items()}
    try:
        with whole(Path(target)) as partial:
            save_file(tensors, partial, metadata={"config": config})
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{target} could not be written: {error}.") from None


def read(
    path: str | Path, overrides: Mapping | None = None
) -> tuple[dict[str, Tensor], Recognised]:
    """The weights in a file or folder, in the names of `UNet`, and what `recognise` says of them.

    overrides: as for `load`. Raises ValueError as `load` does.
    """
    return translated(*read_state_dict(path), overrides, path)
