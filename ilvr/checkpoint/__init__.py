"""Checkpoints of ADM models and of those of Ho et al.: recognise, load, convert.

files.py reads state dicts, pickles.py adds up what a pickle asks for, layouts.py knows the names
that projects give their layers, in the terms of names.py, diffusers.py the files beside a model of
diffusers, published.py the published models; recognise.py makes of these a configuration. A latent
model is one file: its network behind the prefix `network.`, and its autoencoder in the names of
`Autoencoder`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..autoencoder import COMPRESSION, Autoencoder
from ..disk import check_target, clear, whole
from ..model import Configuration, DiffusionModel
from ..values import available_device, path_of
from .diffusers import settings_files
from .files import read_state_dict
from .layouts import OtherKind
from .published import PUBLISHED
from .recognise import Recognised, recognise, translated

__all__ = [
    "BUNDLED",
    "DEFAULT",
    "PUBLISHED",
    "Configuration",
    "DiffusionModel",
    "OtherKind",
    "Recognised",
    "convert",
    "inspect",
    "load",
    "located",
    "read",
    "read_state_dict",
    "recognise",
    "save",
    "settings_files",
]

_ASSETS = Path(__file__).parents[1] / "assets"
BUNDLED = {file.stem: file for file in sorted(_ASSETS.glob("landscapes-*.safetensors"))}
DEFAULT = "landscapes-256"


def located(model: str | Path) -> Path:
    """The file of a bundled model by its name, or another path; ValueError where nothing is."""
    path = BUNDLED.get(str(model), path_of(model))
    if not os.path.exists(path):  # which a name that is too long does not either
        raise ValueError(
            f"{path}: there is no such checkpoint file; bundled are {' and '.join(BUNDLED)}."
        )
    return path


def load(
    path: str | Path = DEFAULT, device="cpu", dtype=torch.float32, overrides: Mapping | None = None
) -> DiffusionModel:
    """The model of a checkpoint (.safetensors, or .pt/.pth/.bin holding weights alone).

    path: a bundled model's name, a file, or the folder of a model in the layout of diffusers.
    device: None takes the GPU if there is one. dtype: of the network; an autoencoder is in float32.
    overrides: values of `Configuration` to use instead of the recognised ones. Raises ValueError
    for a file that is missing, damaged, of another kind, or has weights that are not finite, and
    for a device that is not there.
    """
    device = available_device(device)
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype is {dtype!r}; one of floating-point numbers is needed.")
    state, recognised, autoencoder = read(path, overrides)
    network = recognised.configuration.network(device="meta")
    network.load_state_dict(_copies(state, device, dtype), assign=True)
    network.dtype = dtype
    network.train(False).requires_grad_(False)
    if autoencoder is not None:
        copies = _copies(autoencoder.state_dict(), device, torch.float32)
        autoencoder.load_state_dict(copies, assign=True)
        autoencoder.requires_grad_(False)
    return DiffusionModel(
        network, recognised.configuration, autoencoder, assumed=recognised.assumed
    )


def _copies(state, device, dtype):
    """Aligned and free of the file; with channels last, convolutions are faster."""

    def copied(weight):
        layout = torch.channels_last if weight.ndim == 4 else torch.preserve_format
        return weight.to(device, dtype, copy=True, memory_format=layout)

    return {name: copied(weight) for name, weight in state.items()}


def inspect(path: str | Path, overrides: Mapping | None = None) -> Recognised:
    """What `load` would recognise in the file or folder."""
    return read(path, overrides)[1]


def convert(source: str | Path, target: str | Path, overrides: Mapping | None = None) -> Recognised:
    """Writes the weights of a file or folder as one .safetensors, the network's in
    guided-diffusion's names, with their configuration as metadata."""
    if path_of(target).suffix != ".safetensors":
        raise ValueError(f"{target}: convert writes .safetensors; give a name that ends so.")
    check_target(Path(target))
    clear(Path(target).parent)
    state, recognised, autoencoder = read(source, overrides)
    save(state, recognised.configuration, target, autoencoder)
    return recognised


def save(
    state: Mapping[str, Tensor],
    configuration: Configuration,
    target: str | Path,
    autoencoder: Autoencoder | None = None,
):
    """Writes a network's state dict with its configuration, and an autoencoder beside it, whole or
    not at all."""
    config = json.dumps(asdict(configuration))
    if autoencoder is not None:
        state = {f"network.{name}": tensor for name, tensor in state.items()}
        state |= autoencoder.state_dict()
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
) -> tuple[dict[str, Tensor], Recognised, Autoencoder | None]:
    """The network's weights in a file or folder, in the names of `UNet`, what `recognise` says of
    them, and the autoencoder of a latent model, in the file's dtype.

    path, overrides: as for `load`. Raises ValueError as `load` does.
    """
    path = located(path)
    state, metadata, rest = read_state_dict(path)
    state, recognised = translated(state, metadata, overrides, path)
    try:
        autoencoder = Autoencoder.of(rest) if rest else None
        _check_space(recognised.configuration, autoencoder)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return state, recognised, autoencoder


def _check_space(configuration, autoencoder):
    """ValueError unless the network is one of the autoencoder's latents, or of pixels."""
    taken = configuration.compression, configuration.in_channels
    if autoencoder is None and taken[0] > 1:
        raise ValueError(
            f"it is a model of latents, of {taken[0]} pixels a cell, without their autoencoder; a "
            f"file that holds both is needed."
        )
    if autoencoder is not None and taken != (COMPRESSION, autoencoder.channels):
        raise ValueError(
            f"its network takes {taken[1]} channels and {taken[0]} pixels a cell, and the latents "
            f"of its autoencoder have {autoencoder.channels} channels and {COMPRESSION} pixels a "
            f"cell; a network and the autoencoder that it was trained with are needed."
        )
