"""Checkpoints of ADM models: recognise, load, convert.

The layout is read from keys and shapes. What shapes cannot tell (attention order, heads, schedule,
...) comes from the file's own metadata, else from the table of published models that the layout
selects, else it is assumed. Whatever was recognised can be overridden.
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

from .schedule import NoiseSchedule
from .unet import UNet

BUNDLED = Path(__file__).parent / "assets" / "landscapes-64.safetensors"
OTHER_KINDS = {  # and what a key of theirs looks like
    "a LoRA": r"lora_|\.lora",
    "a latent diffusion model such as Stable Diffusion": (
        r"transformer_blocks|first_stage_model|cond_stage_model|context_embedder"
    ),
    "a model in the layout of diffusers": r"^(unet\.)?down_blocks\.",
    "a VAE": r"^(encoder|decoder)\.",
}
PROBE = "time_embed.0.weight"  # every ADM state dict has it, behind its prefix
# What torch says of a pickle that wants more than weights.
CODE_IN_PICKLE = r"(?i)unsupported (global|class)|call reduce for unrecognized|blocked module"


@dataclass(frozen=True)
class Configuration:
    """A model and its diffusion, in the names of guided-diffusion's flags."""

    # Read from keys and shapes.
    model_channels: int
    channel_mult: tuple[float, ...]
    num_res_blocks: int
    attention_rates: tuple[int, ...]
    in_channels: int = 3
    num_classes: int | None = None
    learn_sigma: bool = True
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    # Not in the shapes.
    image_size: int = 256
    num_heads: int = 1
    num_head_channels: int | None = 64
    use_new_attention_order: bool = False
    noise_schedule: str = "linear"
    diffusion_steps: int = 1000
    rescale_timesteps: bool = False

    @property
    def size_step(self) -> int:
        """Height and width must be multiples of this."""
        return 2 ** (len(self.channel_mult) - 1)

    def network(self, kind: type[UNet] = UNet, **layers) -> UNet:
        """The U-Net of this configuration; `layers` are UNet's operations, dtype and device."""
        return kind(
            model_channels=self.model_channels,
            channel_mult=self.channel_mult,
            num_res_blocks=self.num_res_blocks,
            attention=self.attention_rates,
            in_channels=self.in_channels,
            out_channels=self.in_channels * (1 + self.learn_sigma),
            num_classes=self.num_classes,
            num_heads=self.num_heads,
            num_head_channels=self.num_head_channels,
            new_attention_order=self.use_new_attention_order,
            scale_shift_norm=self.use_scale_shift_norm,
            resblock_updown=self.resblock_updown,
            **layers,
        )

    def schedule(self) -> NoiseSchedule:
        return NoiseSchedule.named(self.noise_schedule, self.diffusion_steps)


class OtherKind(ValueError):
    """A file that holds a model of another `kind`: a word of `OTHER_KINDS`, or another."""

    def __init__(self, path, kind: str):
        super().__init__(
            f"{path} is {kind}; an ADM (guided-diffusion) checkpoint of a pixel-space model is "
            f"needed."
        )
        self.kind = kind


FIELDS = {field.name: field.type for field in fields(Configuration)}


def _adm(size, channels, mult, blocks, rates, *, classes=None, **rest) -> Configuration:
    return Configuration(
        channels, mult, blocks, rates, num_classes=classes, image_size=size, **rest
    )


# guided-diffusion's README, improved-diffusion's README, P2-weighting's and ilvr_adm's.
_PLAIN = {"resblock_updown": False, "num_head_channels": None, "num_heads": 4}
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
}  # fmt: skip
LAYOUT = tuple(FIELDS)[: tuple(FIELDS).index("image_size")]


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


class DiffusionModel:
    """A network with its schedule: what the samplers need of a checkpoint."""

    def __init__(self, network: UNet, recognised: Recognised):
        self.network, self.recognised = network, recognised
        self.configuration = recognised.configuration
        self.schedule = self.configuration.schedule()

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def denoiser(self, label: int | None = None):
        """`(x, t) -> noise prediction`, t the paper's timestep; `label` for conditional models."""
        classes = self.configuration.num_classes
        if classes is None and label is not None:
            raise ValueError(f"Class label {label} was given, but this model has no classes.")
        if classes is not None and (label is None or not 0 <= label < classes):
            given = "No class label was given" if label is None else f"Class label {label} is given"
            raise ValueError(f"{given}; this model needs one from 0 to {classes - 1}.")

        @torch.inference_mode()
        def denoise(x, t):
            y = None if label is None else torch.full((len(x),), label, device=x.device)
            return self.network(
                x.contiguous(memory_format=torch.channels_last), self.timesteps(t, x), y
            )

        return denoise

    def timesteps(self, t: float, x: Tensor) -> Tensor:
        """(B,) what the network takes for the paper's timestep t: its index in training."""
        index = t * self.configuration.diffusion_steps / 1000 - 1
        if self.configuration.rescale_timesteps:
            index *= 1000 / self.configuration.diffusion_steps
        return torch.full((len(x),), index, device=x.device)


def load(
    path: str | Path = BUNDLED, device="cpu", dtype=torch.float32, overrides: Mapping | None = None
) -> DiffusionModel:
    """The model of an ADM checkpoint (.safetensors, or .pt/.pth holding weights alone).

    overrides: values of `Configuration` to use instead of the recognised ones. Raises ValueError
    for a file that is missing, damaged, of another kind, or has weights that are not finite.
    """
    state, metadata = read_state_dict(path)
    recognised = recognise(state, metadata, overrides, path)
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
    return DiffusionModel(network.train(False).requires_grad_(False), recognised)


def inspect(path: str | Path, overrides: Mapping | None = None) -> Recognised:
    """What `load` would recognise in the file."""
    return recognise(*read_state_dict(path), overrides, path)


def convert(source: str | Path, target: str | Path, overrides: Mapping | None = None) -> Recognised:
    """Writes the weights of `source` as .safetensors with their configuration as metadata."""
    if Path(target).suffix != ".safetensors":
        raise ValueError(f"{target}: convert writes .safetensors; give a name that ends so.")
    state, metadata = read_state_dict(source)
    recognised = recognise(state, metadata, overrides, source)
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


def read_state_dict(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """The ADM state dict in a file, EMA weights first and prefixes removed, and its config."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such checkpoint file.")
    content, metadata = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    state = _weights_in(content)
    if not state:
        raise ValueError(f"{path} holds no weights; an ADM checkpoint is needed.")
    prefixes = [name.removesuffix(PROBE) for name in state if name.endswith(PROBE)]
    _refuse_other_kinds(path, state, prefixes)
    prefix = max(prefixes, key=lambda prefix: "ema" in prefix)
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }, metadata


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
                f"opened; get it as .safetensors."
            ) from None
        raise ValueError(f"{path} is truncated or no PyTorch checkpoint.") from None


def _weights_in(content) -> dict[str, Tensor]:
    """The state dict in a nest of dicts, of an ADM model and of EMA weights if there is one."""

    def preference(found):
        name, state = found
        return any(key.endswith(PROBE) for key in state), "ema" in name, len(state)

    return max(_state_dicts(content), key=preference, default=("", {}))[1]


def _state_dicts(content, name=""):
    """(name, tensors) of a dict and of the dicts within it."""
    if isinstance(content, Mapping):
        yield name, {str(key): v for key, v in content.items() if isinstance(v, Tensor)}
        for key, value in content.items():
            yield from _state_dicts(value, f"{name}.{key}")


def _refuse_other_kinds(path, state, prefixes):
    def has(pattern):
        return any(re.search(pattern, name) for name in state)

    kind = next((kind for kind, pattern in OTHER_KINDS.items() if has(pattern)), None)
    if not kind and prefixes and not has(r"output_blocks\."):
        kind = "a classifier"
    if kind or not prefixes:
        raise OtherKind(path, kind or "no diffusion model of a known kind")


def recognise(
    state: Mapping[str, Tensor],
    metadata: Mapping | None = None,
    overrides: Mapping | None = None,
    path: str | Path = "This state dict",
) -> Recognised:
    """The configuration of an ADM state dict. Raises ValueError where the keys fit none."""
    layout = _read_layout(state, path)
    published = next(
        (
            name
            for name, known in PUBLISHED.items()
            if all(getattr(known, key) == value for key, value in layout.items())
        ),
        None,
    )
    configuration = PUBLISHED[published] if published else _assumed(layout)
    sources = dict.fromkeys(FIELDS, "table of published models" if published else "assumed")
    sources |= dict.fromkeys(layout, "read from the weights")
    for values, source in ((metadata, "metadata of the file"), (overrides, "override")):
        values = _checked(values or {}, source, path)
        if source != "override":
            values = {name: value for name, value in values.items() if name not in layout}
        configuration = replace(configuration, **values)
        sources |= dict.fromkeys(values, source)
    _check_fit(configuration, state, path)
    return Recognised(configuration, sources, published)


def _read_layout(state, path):
    try:
        return _layout(state)
    except (KeyError, IndexError, ZeroDivisionError):
        raise ValueError(
            f"{path} has the time embedding of an ADM model, but not its blocks; it is damaged "
            f"or of an architecture that is not supported."
        ) from None


def _layout(state) -> dict:
    def has(pattern):
        return {int(m[1]) for name in state if (m := re.fullmatch(pattern, name))}

    channels = state[PROBE].shape[1]
    outputs = sorted(has(r"output_blocks\.(\d+)\.0\.out_layers\.3\.weight"))
    ups = has(r"output_blocks\.(\d+)\.[12]\.(?:conv|in_layers\.2)\.weight")
    levels = len(ups) + 1
    per_level = len(outputs) // levels
    # Output blocks run from the deepest level up, the last of each but the top one upsampling.
    last_of_level = [outputs[(levels - level) * per_level - 1] for level in range(levels)]
    widths = [
        state[f"output_blocks.{block}.0.out_layers.3.weight"].shape[0] for block in last_of_level
    ]
    attended = has(r"output_blocks\.(\d+)\.1\.qkv\.weight")
    embedding = state["middle_block.0.emb_layers.1.weight"].shape[0]
    in_channels = state["input_blocks.0.0.weight"].shape[1]
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
        "learn_sigma": state["out.2.weight"].shape[0] == 2 * in_channels,
        "use_scale_shift_norm": embedding
        == 2 * state["middle_block.0.out_layers.3.weight"].shape[0],
        "resblock_updown": not has(r"output_blocks\.(\d+)\.[12]\.conv\.weight"),
    }


def _whole(number):
    return int(number) if number == int(number) else number


def _assumed(layout) -> Configuration:
    """An unknown layout: 8x8 at its deepest level, 64 channels a head where they divide."""
    attended = [int(mult * layout["model_channels"]) for mult in layout["channel_mult"]]
    whole = all(width % 64 == 0 for width in attended[-1:])
    return Configuration(
        **layout,
        image_size=8 * 2 ** (len(attended) - 1),
        num_head_channels=64 if whole else None,
        num_heads=1 if whole else 4,
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
        return value in ("linear", "cosine")
    if name in ("num_classes", "num_head_channels") and value is None:
        return True
    if name in ("channel_mult", "attention_rates"):
        return isinstance(value, tuple) and all(isinstance(n, (int, float)) for n in value)
    if FIELDS[name] is bool:
        return isinstance(value, bool)
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_fit(configuration, state, path):
    """ValueError unless the configuration's network has the keys and shapes of the weights."""
    try:
        wanted = configuration.network(device="meta").state_dict()
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: no network can be built so: {error}.") from None
    wrong = [name for name in wanted.keys() | state.keys() if not _same(name, wanted, state)]
    if wrong:
        named = ", ".join(sorted(wrong)[:3])
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(
            f"{path} does not fit the architecture recognised in it: {named}{more} are missing, "
            f"unknown or of another shape."
        )


def _same(name, wanted, state):
    return name in wanted and name in state and wanted[name].shape == state[name].shape
