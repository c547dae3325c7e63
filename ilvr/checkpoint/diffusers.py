"""Models as diffusers saves them: a folder of weights, a config.json and perhaps a schedule."""

import contextlib
import os
import re
import reprlib
from pathlib import Path

from ..kinds import flag, several, text, whole, word
from ..values import parsed, printable
from .layouts import CONTROLNET, LATENT, TEXT, VAE, OtherKind

TRAINING = r"(optimizer|scheduler|sampler|scaler|random_states)(_\d+)?"  # accelerate's own files
WEIGHTS = "diffusion_pytorch_model"  # as diffusers calls the file
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")  # the ones to prefer first
CLASSES = ("UNet2DModel", "UNetModel")  # the second is its name in 2022
OTHER_CLASSES = {
    r"ControlNet|T2IAdapter": CONTROLNET,
    r"Autoencoder|VQModel": VAE,
    r"Condition|Transformer|Motion|Prior": LATENT,
    r"": "a model of another kind",
}
OF_LATENTS = {"vae", "vqvae", "movq", "transformer", "prior"}  # components of a pipeline
DEFAULTS = {  # of UNet2DModel, for what a config.json leaves out
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "layers_per_block": 2,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "num_class_embeds": None,
}
NEEDED = {  # what UNet2DModel could be and the U-Net here is not; the defaults first
    "time_embedding_type": ("positional",),
    "time_embedding_dim": (None,),
    "center_input_sample": (False,),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (1, 0),
    "act_fn": ("silu", "swish"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "add_attention": (True,),
    "class_embed_type": (None,),
}
BLOCKS = ("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D")
KINDS = {  # of what the configuration is worked out from
    "block_out_channels": several(whole(1, 16384), 1, 12),
    "down_block_types": several(text(), 1, 12),
    "in_channels": whole(1, 1024),
    "out_channels": whole(1, 2048),
    "flip_sin_to_cos": flag(),
    "downsample_type": word("conv", "resnet"),
}
LONGEST = 1 << 20  # bytes of a file of JSON
PREDICTIONS = {"epsilon": "eps", "v_prediction": "v"}
SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}


def weights_file(folder: Path) -> Path:
    """The file of the one model in a folder: of a pipeline (in its unet/) or of a model.

    Raises OtherKind for a model of another class, ValueError where there is none or are several.
    """
    _refuse_other_classes(folder)
    models = [folder]
    if not _weights(folder):
        models = sorted(path for path in folder.iterdir() if path.is_dir() and _weights(path))
    if (folder / "model_index.json").exists() and folder / "unet" in models:
        models = [folder / "unet"]
    if {folder / "unet", folder / "unet_ema"} >= set(models):  # a training's, of accelerate
        models = models[-1:]
    files = [file for model in models for file in _weights(model)]
    if len(files) == 1:
        _refuse_other_classes(files[0].parent)
        return files[0]
    if not files:
        raise ValueError(
            f"{folder} holds no model; a folder with config.json beside the weights "
            f"({WEIGHTS}.safetensors or .bin) is needed, or one with such a folder unet in it."
        )
    named = ", ".join(str(file.relative_to(folder)) for file in files[:3])
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    raise ValueError(f"{folder} holds several models: {named}{more}; give the path of one of them.")


def configuration(file: Path) -> dict:
    """What the files beside a model's weights say, in the names of `Configuration`.

    Empty where there is no config.json of a UNet2DModel. Raises OtherKind for a model of another
    class, ValueError for a network or a diffusion that is not supported.
    """
    _refuse_other_classes(file.parent)
    source = file.parent / "config.json"
    config = _read(source)
    if "block_out_channels" not in config:
        return {}
    return _network(config, source) | _schedule(file.parent)


def settings_files(file: Path) -> list[Path]:
    """Those of the files beside a model's weights that `configuration` reads which are there."""
    index = _root(file.parent) / "model_index.json"
    places = (file.parent / "config.json", index, *_schedules(file.parent))
    return [place for place in places if place.is_file()]


def _weights(folder: Path) -> list[Path]:
    """The files of weights in a folder; one alone where it has diffusers' own name."""
    files = [path for suffix in SUFFIXES for path in sorted(folder.glob(f"*{suffix}"))]
    files = [path for path in files if not re.fullmatch(TRAINING, path.stem)]
    own = [path for path in files if path.stem == WEIGHTS]
    return own[:1] or files


def _refuse_other_classes(folder: Path):
    """OtherKind unless the model of a folder, and of the pipeline around it, is a UNet2DModel."""
    index, config = _read(_root(folder) / "model_index.json"), _read(folder / "config.json")
    pipeline = index.get("_class_name")
    if OF_LATENTS & index.keys():
        raise OtherKind(folder, LATENT, pipeline)
    if "text_encoder" in index:
        raise OtherKind(folder, TEXT, pipeline)
    unet = index.get("unet")
    for name in (config.get("_class_name"), unet[-1] if isinstance(unet, list) and unet else None):
        if name is not None and name not in CLASSES:
            classes = OTHER_CLASSES.items()
            kind = next(kind for pattern, kind in classes if re.search(pattern, str(name)))
            raise OtherKind(folder, kind, name)


def _root(folder: Path) -> Path:
    """The folder of the pipeline that a model's folder may be a part of."""
    return folder.parent if folder.name.startswith("unet") else folder


def _read(file: Path) -> dict:
    """Of a file of JSON; {} where there is none, which a link to nothing is not."""
    if not os.path.lexists(file):
        return {}
    content = None
    with contextlib.suppress(OSError, ValueError):
        if file.is_file() and file.stat().st_size <= LONGEST:
            content = parsed(file.read_text("utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{file} is damaged or no JSON; get it again.")
    return content


def _network(config, source):
    config = DEFAULTS | {name: options[0] for name, options in NEEDED.items()} | config
    try:
        for name, kind in KINDS.items():
            kind.of(name, config.get(name))
    except ValueError as error:
        raise ValueError(
            f"{source} is no configuration of diffusers' UNet2DModel: {error}"
        ) from None
    for name, options in NEEDED.items():
        _need(config[name], options, name, source)
    for block in config["down_block_types"]:
        _need(block, BLOCKS, "down_block_types", source)
    widths, groups = config["block_out_channels"], config["norm_num_groups"]
    _need(config.get("attn_norm_num_groups"), (None, groups), "attn_norm_num_groups", source)
    size = config["sample_size"]
    if isinstance(size, list):
        _need(size, ([size[0], size[0]],) if size else ("a number",), "sample_size", source)
        size = size[0]
    values = {
        "model_channels": widths[0],
        "channel_mult": [w // widths[0] if w % widths[0] == 0 else w / widths[0] for w in widths],
        "num_res_blocks": config["layers_per_block"],
        "attention_rates": [
            2**level for level, block in enumerate(config["down_block_types"]) if "Attn" in block
        ],
        "in_channels": config["in_channels"],
        "num_classes": config["num_class_embeds"],
        "learn_sigma": config["out_channels"] == 2 * config["in_channels"],
        "use_scale_shift_norm": config["resnet_time_scale_shift"] == "scale_shift",
        "resblock_updown": config["downsample_type"] == "resnet"
        or "ResnetDownsampleBlock2D" in config["down_block_types"],
        "num_heads": 1,
        "num_head_channels": config["attention_head_dim"],
        "norm_groups": groups,
        "norm_eps": config["norm_eps"],
        "sine_first": not config["flip_sin_to_cos"],
        "frequency_shift": config["freq_shift"],
        "asymmetric_downsample": config["downsample_padding"] == 0,
    }
    return values if size is None else values | {"image_size": size}


def _schedules(folder: Path) -> list[Path]:
    """Where the schedule of a model in a folder may be, the first to be taken."""
    places = (folder, _root(folder), _root(folder) / "scheduler")
    return [place / "scheduler_config.json" for place in places]


def _schedule(folder):
    source = next((path for path in _schedules(folder) if os.path.lexists(path)), None)
    if source is None:
        return {}
    config = _read(source)
    predicted = config.get("prediction_type", "epsilon")
    _need(predicted, PREDICTIONS, "prediction_type", source)
    _need(config.get("trained_betas"), (None,), "trained_betas", source)
    _need(config.get("rescale_betas_zero_snr", False), (False,), "rescale_betas_zero_snr", source)
    _need(config.get("beta_schedule"), SCHEDULES, "beta_schedule", source)
    length = config.get("num_train_timesteps", 1000)
    ends = [config.get("beta_start", 1e-4), config.get("beta_end", 0.02)]
    usual = config["beta_schedule"] == "squaredcos_cap_v2" or (
        length == 1000 and ends == [1e-4, 0.02]
    )
    return {
        "noise_schedule": SCHEDULES[config["beta_schedule"]],
        "diffusion_steps": length,
        "beta_range": None if usual else ends,
        "sigma_small": config.get("variance_type") != "fixed_large",
        "prediction": PREDICTIONS[predicted],
    }


def _need(value, options, name, source):
    if value not in tuple(options):
        given = printable(reprlib.repr(value))
        raise ValueError(
            f"{source} has {name} = {given}, which is not supported; "
            f"{' or '.join(map(str, options))} is needed."
        )
