"""Checkpoints of ADM models and of those of Ho et al.: recognise, load, convert.

The architecture is read from keys and shapes. What shapes cannot tell (attention order, heads,
schedule, ...) comes from the file's own metadata or the config.json beside it, else from the table
of published models that the architecture selects, else it is assumed. Whatever was recognised can
be overridden.
"""

import json
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import diffusers_folder
from .layouts import PROBE, OtherKind, layout_of, other_kind, probes
from .model import Configuration, DiffusionModel
from .schedule import NAMES

BUNDLED = Path(__file__).parent / "assets" / "landscapes-64.safetensors"
OWN = "its own configuration"  # in the file or beside it
# What torch says of a pickle that wants more than weights.
CODE_IN_PICKLE = r"(?i)unsupported (global|class)|call reduce for unrecognized|blocked module"


FIELDS = {field.name: field.type for field in fields(Configuration)}


def _adm(size, channels, mult, blocks, rates, *, classes=None, **rest) -> Configuration:
    return Configuration(
        channels, mult, blocks, rates, num_classes=classes, image_size=size, **rest
    )


# The READMEs of guided-diffusion, improved-diffusion, P2-weighting and ilvr_adm; the config.json
# files of google's models; the config folder of rosinality's project.
_FOUR_HEADS = {"num_head_channels": None, "num_heads": 4}
_PLAIN = {"resblock_updown": False} | _FOUR_HEADS
_HO = _PLAIN | {"num_heads": 1, "learn_sigma": False, "use_scale_shift_norm": False}
_GOOGLE = _HO | {
    "use_new_attention_order": True, "norm_eps": 1e-6, "sine_first": True, "frequency_shift": 1,
    "asymmetric_downsample": True,
}  # fmt: skip
PUBLISHED = {
    "guided-diffusion ImageNet 64x64": _adm(
        64, 192, (1, 2, 3, 4), 3, (2, 4, 8), classes=1000,
        noise_schedule="cosine", use_new_attention_order=True,
    ),
    "guided-diffusion ImageNet 128x128": _adm(
        128, 256, (1, 1, 2, 3, 4), 2, (4, 8, 16), classes=1000,
        num_head_channels=None, num_heads=4,
    ),
    "guided-diffusion ImageNet 256x256": _adm(
        256, 256, (1, 1, 2, 2, 4, 4), 2, (8, 16, 32), classes=1000
    ),
    "guided-diffusion 256x256 unconditional, or LSUN bedroom, cat, horse": _adm(
        256, 256, (1, 1, 2, 2, 4, 4), 2, (8, 16, 32)
    ),
    "guided-diffusion ImageNet 512x512": _adm(
        512, 256, (0.5, 1, 1, 2, 2, 4, 4), 2, (16, 32, 64), classes=1000
    ),
    "ILVR and P2-weighting 256x256 (FFHQ, AFHQ-dog, MetFaces, CelebA-HQ, CUB, Flowers, ...)": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 1, (16,)
    ),
    "improved-diffusion CIFAR-10 32x32": _adm(
        32, 128, (1, 2, 2, 2), 3, (2, 4), **_PLAIN,
        noise_schedule="cosine", diffusion_steps=4000, rescale_timesteps=True,
    ),
    "improved-diffusion ImageNet 64x64": _adm(
        64, 128, (1, 2, 3, 4), 3, (4, 8), **_PLAIN,
        noise_schedule="cosine", diffusion_steps=4000, rescale_timesteps=True,
    ),
    "improved-diffusion ImageNet 64x64, class-conditional": _adm(
        64, 192, (1, 2, 3, 4), 3, (4, 8), classes=1000, **_PLAIN,
        noise_schedule="cosine", diffusion_steps=4000,
    ),
    "improved-diffusion LSUN bedroom 256x256": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 2, (16,), use_scale_shift_norm=False,
        resblock_updown=False, num_head_channels=None, num_heads=1,
    ),
    "google/ddpm- and ddpm-ema- celebahq-256, church-256, bedroom-256, cat-256": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 2, (16,), **_GOOGLE
    ),
    "google/ddpm-cifar10-32 and ddpm-ema-cifar10-32": _adm(
        32, 128, (1, 2, 2, 2), 2, (2,), **_GOOGLE
    ),
    "rosinality/denoising-diffusion-pytorch 256x256 (diffusion.conf: FFHQ)": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 2, (16,), **_HO, sine_first=True
    ),
    "rosinality/denoising-diffusion-pytorch 256x256 (improved.conf)": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 2, (8, 16), **_PLAIN, learn_sigma=False, sine_first=True,
        noise_schedule="cosine",
    ),
}  # fmt: skip
ARCHITECTURE = tuple(FIELDS)[: tuple(FIELDS).index("image_size")]


@dataclass(frozen=True)
class Recognised:
    """A configuration, and for each of its values where it comes from."""

    configuration: Configuration
    sources: dict[str, str]
    published: str | None

    @property
    def assumed(self) -> list[str]:
        """The values, as `name = value`, that stand in neither the weights, file nor table."""
        values = asdict(self.configuration)
        return [f"{name} = {values[name]}" for name in FIELDS if self.sources[name] == "assumed"]

    def describe(self) -> str:
        """Lines `name = value  (source)`, the published model's name first."""
        lines = [f"model: {self.published or 'not one of the published layouts'}"]
        for name, value in asdict(self.configuration).items():
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
            lines.append(f"{name} = {shown}  ({self.sources[name]})")
        return "\n".join(lines)


def load(
    path: str | Path = BUNDLED, device="cpu", dtype=torch.float32, overrides: Mapping | None = None
) -> DiffusionModel:
    """The model of a checkpoint (.safetensors, or .pt/.pth/.bin holding weights alone).

    path: the file, or the folder of a model in the layout of diffusers. overrides: values of
    `Configuration` to use instead of the recognised ones. Raises ValueError for a file that is
    missing, damaged, of another kind, or has weights that are not finite.
    """
    state, recognised = read(path, overrides)
    network = recognised.configuration.network(device="meta")
    for name in list(state):
        weight = state[name]
        # A copy is aligned and free of the file; with channels last, convolutions are faster.
        layout = torch.channels_last if weight.ndim == 4 else torch.preserve_format
        weight = weight.to(device, dtype, copy=True, memory_format=layout)
        if not weight.isfinite().all():
            raise ValueError(f"{path}: {name} has values that are not finite; the file is damaged.")
        state[name] = weight
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
    partial = Path(f"{target}.partial")
    config = json.dumps(asdict(configuration))
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    try:
        save_file(tensors, partial, metadata={"config": config})
        os.replace(partial, target)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{target} could not be written: {error}.") from None
    finally:
        partial.unlink(missing_ok=True)


def read(
    path: str | Path, overrides: Mapping | None = None
) -> tuple[dict[str, Tensor], Recognised]:
    """The weights in a file or folder, in the names of `UNet`, and what `recognise` says of them.

    overrides: as for `load`. Raises ValueError as `load` does.
    """
    state, metadata = read_state_dict(path)
    recognised = recognise(state, metadata, overrides, path)
    return layout_of(state).translate(state, recognised.configuration.heads), recognised


def read_state_dict(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """The state dict in a file or folder, in a layout of its own, EMA weights first and prefixes
    removed, and what stands beside it of its configuration."""
    file = path = Path(path)
    if path.is_dir():
        file = diffusers_folder.weights_file(path)
    elif not path.is_file():
        raise ValueError(f"{path}: there is no such checkpoint file.")
    content, metadata = _read_safetensors(file) if _is_safetensors(file) else _read_torch(file)
    state = _weights_in(content)
    if not state:
        raise ValueError(f"{file} holds no weights; the checkpoint of a U-Net is needed.")
    found = dict(probes(state))
    _refuse_other_kinds(file, state, found)
    prefix = max(found, key=lambda prefix: "ema" in prefix)
    state = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    if layout_of(state).name == "diffusers":
        metadata = diffusers_folder.configuration(file) | metadata
    return state, metadata


def _is_safetensors(path):
    return path.suffix == ".safetensors"


def _read_safetensors(path):
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, config  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is truncated or no safetensors file ({error}).") from None


def _read_torch(path):
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


def _refuse_other_kinds(path, state, found):
    kind = other_kind(state)
    if not kind and PROBE in found.values() and not any("output_blocks." in name for name in state):
        kind = "a classifier"
    if kind or not found:
        raise OtherKind(path, kind or "no diffusion model of a known kind")


def recognise(
    state: Mapping[str, Tensor],
    metadata: Mapping | None = None,
    overrides: Mapping | None = None,
    path: str | Path = "This state dict",
) -> Recognised:
    """The configuration of a state dict. Raises ValueError where the keys fit none.

    metadata: what is known of it beside the weights. overrides: as for `load`.
    """
    layout = layout_of(state)
    translated = layout.translate(state)
    metadata = _checked(metadata or {}, OWN, path)
    read = _read_architecture(translated, metadata, path)
    known = layout.values | read | metadata
    published = next((name for name, model in PUBLISHED.items() if _agrees(model, known)), None)
    configuration = PUBLISHED[published] if published else _assumed(known, layout)
    sources = dict.fromkeys(FIELDS, "table of published models" if published else "assumed")
    sources |= dict.fromkeys(metadata, OWN)
    sources |= dict.fromkeys([*layout.values.keys() - metadata, *read], "read from the weights")
    overrides = _checked(overrides or {}, "override", path)
    sources |= dict.fromkeys(overrides, "override")
    configuration = replace(configuration, **known | overrides)
    _check_fit(configuration, state, layout, path)
    return Recognised(configuration, sources, published)


def _agrees(model, known):
    return all(getattr(model, name) == value for name, value in known.items())


def _read_architecture(state, metadata, path):
    try:
        return _architecture(state)
    except (KeyError, IndexError, ZeroDivisionError):
        if metadata.keys() >= set(ARCHITECTURE):
            return {}
        raise ValueError(
            f"{path} has the time embedding of a U-Net of pixels, but not its blocks; it is "
            f"damaged or of an architecture that is not supported."
        ) from None


def _architecture(state) -> dict:
    """What keys and shapes tell, also where a few keys are missing: `_check_fit` names those."""

    def blocks(pattern):
        found = (re.match(rf"output_blocks\.(\d+)\.{pattern}\.", name) for name in state)
        return {int(match[1]) for match in found if match}

    def width(part):
        return next(iter(t.shape[0] for name, t in state.items() if name.startswith(part)), 0)

    channels = state[PROBE].shape[1]
    ups = blocks(r"[12]\.(?:conv|in_layers|out_layers)")
    levels = len(ups) + 1
    per_level = (max(blocks("0"), default=-1) + 1) // levels
    # Output blocks run from the deepest level up, the last of each but the top one upsampling.
    last_of_level = [(levels - level) * per_level - 1 for level in range(levels)]
    widths = [width(f"output_blocks.{block}.0.out_layers.") for block in last_of_level]
    attended = blocks(r"1\.(?:norm|qkv|proj_out)")
    in_channels = state["input_blocks.0.0.weight"].shape[1]
    middle = width("middle_block.0.out_layers.")
    if not (per_level and middle and all(widths)):
        raise KeyError("blocks")
    classes = state.get("label_emb.weight")
    return {
        "model_channels": channels,
        "channel_mult": tuple(_whole(width / channels) for width in widths),
        "num_res_blocks": per_level - 1,
        "attention_rates": tuple(
            2**level for level, block in enumerate(last_of_level) if block in attended
        ),
        "in_channels": in_channels,
        "num_classes": None if classes is None else classes.shape[0],
        "learn_sigma": width("out.2.") == 2 * in_channels,
        "use_scale_shift_norm": width("middle_block.0.emb_layers.") == 2 * middle,
        "resblock_updown": not blocks(r"[12]\.conv"),
    }


def _whole(number):
    return int(number) if number == int(number) else number


def _assumed(known, layout) -> Configuration:
    """An unknown architecture: 8x8 at its deepest level; ADM has 64 channels a head if it can."""
    deepest = known["channel_mult"][-1] * known["model_channels"]
    heads = {"num_head_channels": 64} if deepest % 64 == 0 else _FOUR_HEADS
    return Configuration(
        **{name: known[name] for name in ARCHITECTURE},
        **{"image_size": 8 * 2 ** (len(known["channel_mult"]) - 1)} | heads | layout.usual,
    )


def _checked(values, source, path):
    """`values` with the types of Configuration; resolutions of attention turned into rates."""
    values = dict(values)
    if "attention_resolutions" in values and "image_size" in values:
        resolutions = values.pop("attention_resolutions")
        values["attention_rates"] = [values["image_size"] // size for size in resolutions]
    checked = {}
    for name, value in values.items():
        if name not in FIELDS:
            raise ValueError(f"{path}: {source} names {name!r}; known are {', '.join(FIELDS)}.")
        value = tuple(value) if isinstance(value, list) else value
        if not _fits(name, value):
            raise ValueError(f"{path}: {source} gives {name} = {value!r}, which does not fit it.")
        checked[name] = value
    return checked


def _fits(name, value):
    if name == "noise_schedule":
        return value in NAMES
    if name in ("num_classes", "num_head_channels", "beta_range") and value is None:
        return True
    if name == "beta_range":
        return isinstance(value, tuple) and len(value) == 2 and all(0 < n <= 1 for n in value)
    if name == "norm_eps":
        return isinstance(value, float) and 0 < value < 1
    if name in ("channel_mult", "attention_rates"):
        return isinstance(value, tuple) and all(isinstance(n, (int, float)) for n in value)
    if FIELDS[name] is bool:
        return isinstance(value, bool)
    lowest = 0 if name == "frequency_shift" else 1
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _check_fit(configuration, state, layout, path):
    """ValueError unless the configuration's network has the keys and shapes of the weights."""
    try:
        wanted = configuration.network(device="meta").state_dict()
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: no network can be built so: {error}.") from None
    given = layout.translate(state)
    own = {name: layout.own(name) for name in wanted}
    faults = {
        "missing": [n for name in wanted.keys() - given for n in own[name] if n not in state],
        "unknown": [n for name in given.keys() - wanted for n in layout.own(name)],
        "of another shape": [
            n for name in wanted.keys() & given if wanted[name].shape != given[name].shape
            for n in own[name]
        ],
    }  # fmt: skip
    if any(faults.values()):
        raise ValueError(
            f"{path} does not fit the architecture recognised in it: "
            + "; ".join(f"{what}: {_first(names)}" for what, names in faults.items() if names)
            + "."
        )


def _first(names):
    """The first three of some names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(sorted(names)[:3]) + more
