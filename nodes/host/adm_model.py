"""Checkpoints of ADM models and of those of Ho et al. as ordinary models of the host, of pixels or
of the latents of an autoencoder that the file brings."""

import logging
import os
import sys
from pathlib import Path
from typing import ClassVar

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management as memory
import comfy.model_sampling
import comfy.sd
import comfy.supported_models_base
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_execution.utils import get_executing_context

from ...ilvr import Configuration
from ...ilvr.autoencoder import Autoencoder
from ...ilvr.checkpoint import BUNDLED, DEFAULT, OtherKind, read, settings_files
from ...ilvr.checkpoint.layouts import CONTROLNET, LATENT, LORA, VAE
from ...ilvr.unet import Block, UNet
from .reference import say_once

FOLDER = "adm"
DTYPES = [torch.float16, torch.bfloat16, torch.float32]  # what the host may choose from, best first
LOADERS = {  # the host's, for what people choose by mistake
    LORA: "Load LoRA",
    LATENT: "Load Checkpoint or Load Diffusion Model",
    VAE: "Load VAE",
    CONTROLNET: "Load ControlNet Model",
}
FAR = 2  # times the size that a model was trained for, from where that is said
VARIANCE = "ilvr_learned_variance"  # in transformer_options: who takes the network's output


def register_folder():
    """models/adm, and what extra_model_paths.yaml says, for checkpoints."""
    default = os.path.join(folder_paths.models_dir, FOLDER)
    folder_paths.add_model_folder_path(FOLDER, default, is_default=True)
    paths, extensions = folder_paths.folder_names_and_paths[FOLDER]
    known = extensions | {".safetensors", ".pt", ".pth", ".bin"}
    folder_paths.folder_names_and_paths[FOLDER] = (paths, known)


def checkpoints() -> list[str]:
    """Names for the user to choose from, the bundled models first, of these the default."""
    bundled = sorted(BUNDLED, key=lambda name: name != DEFAULT)
    files = [BUNDLED[name].name for name in bundled]
    return [*files, *folder_paths.get_filename_list(FOLDER)]


def checkpoint_path(name: str) -> str:
    """The file of a name; ValueError where it is gone."""
    path = folder_paths.get_full_path(FOLDER, name)
    if path is None:
        path = next((str(file) for file in BUNDLED.values() if file.name == name), None)
    if path is None:
        raise ValueError(
            f"There is no checkpoint {name} in models/{FOLDER} any more; put it back or choose "
            f"another."
        )
    return path


def fingerprint(name: str) -> list[tuple[str, float, int]]:
    """Name, time and size of a checkpoint's file and of the configurations beside it."""
    file = Path(checkpoint_path(name))
    stats = {str(path): path.stat() for path in (file, *settings_files(file))}
    return [(path, stat.st_mtime, stat.st_size) for path, stat in stats.items()]


def load(path: str, disable_dynamic: bool = True) -> ModelPatcher:
    """The host's model of a checkpoint, for newer hosts to load it again with: a plain ModelPatcher
    is never dynamic."""
    return load_with_vae(path)[0]


def load_with_vae(path: str) -> tuple[ModelPatcher, comfy.sd.VAE]:
    """The host's model and VAE of a checkpoint. Raises ValueError for a file of another kind."""
    state, recognised, autoencoder = _read(path)
    configuration = recognised.configuration
    if assumed := recognised.assumed:
        logging.warning(
            f"{path} is of no published layout; assumed: {', '.join(assumed)}. If its pictures are "
            f"noise, `python -m ilvr convert --set NAME=VALUE` makes a file that says what it is."
        )
    config = AdmConfig({"configuration": configuration})
    pixels = {"pixel_space_vae": torch.tensor(1.0)}
    vae = comfy.sd.VAE(sd=autoencoder.state_dict() if autoencoder else pixels)
    if autoencoder:
        config.latent_format = Latents(autoencoder)
    config.set_inference_dtype(_dtype(state), None)
    model = AdmModel(config, device=memory.unet_offload_device())
    model.load_model_weights(state, "")
    model.train(False)
    patcher = ModelPatcher(model, memory.get_torch_device(), memory.unet_offload_device())
    patcher.cached_patcher_init = (load, (path,))
    return patcher, vae


def _read(path):
    try:
        return read(path)
    except OtherKind as error:
        loader = LOADERS.get(error.kind)
        raise ValueError(f"{error} {loader} loads it." if loader else str(error)) from None


def _dtype(state):
    """The host's choice, to load and to compute in: these models are small."""
    count, weights = comfy.utils.calculate_parameters(state), comfy.utils.weight_dtype(state)
    dtype = memory.unet_dtype(model_params=count, supported_dtypes=DTYPES, weight_dtype=weights)
    return memory.unet_manual_cast(dtype, memory.get_torch_device(), DTYPES) or dtype


def conditioning(model: ModelPatcher, label: int | None) -> list:
    """What takes a prompt's place; `label` is the class of a conditional model.

    Raises ValueError for a label that the model does not have or one that it lacks.
    """
    classes = model.model.configuration.num_classes
    if classes is None and label is not None:
        raise ValueError(f"This model has no classes; set class_label to -1 instead of {label}.")
    if classes is not None and (label is None or not 0 <= label < classes):
        raise ValueError(f"This model has classes 0 to {classes - 1}; set class_label to one.")
    return [[torch.zeros(1, 1, 1), {} if label is None else {"class_label": label}]]


class AdmConfig(comfy.supported_models_base.BASE):
    unet_extra_config: ClassVar[dict] = {}
    latent_format = comfy.latent_formats.ChromaRadiance  # 3 channels that are the picture itself
    supported_inference_dtypes = DTYPES


class Latents(comfy.latent_formats.LatentFormat):
    """The latents of an autoencoder as they are, and their colours for previews and filters."""

    def __init__(self, autoencoder: Autoencoder):
        self.latent_channels = autoencoder.channels
        factors, bias = autoencoder.float().requires_grad_(False).colours()
        self.colours = factors
        self.latent_rgb_factors, self.latent_rgb_factors_bias = factors.tolist(), bias.tolist()


class AdmModel(comfy.model_base.BaseModel):
    """A BaseModel around the core's U-Net: labels, clipping of pixels, any schedule and length."""

    def __init__(self, config, device=None):
        configuration: Configuration = config.unet_config["configuration"]
        kind, sampling = SAMPLING[configuration.prediction]
        super().__init__(config, kind, device=device, unet_model=AdmUNet)
        self.configuration, self.model_sampling = configuration, sampling(configuration)

    def memory_required(self, input_shape, cond_shapes=None):
        """Bytes of activations: at most 12 tensors of full size and width live at once, and the
        convolutions want some room to work in."""
        batch, _, height, width = input_shape
        channels = self.configuration.model_channels * self.configuration.channel_mult[0]
        return 15 * batch * channels * height * width * memory.dtype_size(self.get_dtype())

    def extra_conds(self, **kwargs):
        if (noise := kwargs.get("noise")) is not None:
            self._say_if_far_above(*noise.shape[-2:])
        conds = super().extra_conds(**kwargs)
        label = kwargs.get("class_label")
        if label is not None:
            conds["y"] = comfy.conds.CONDRegular(torch.tensor([label]))
        return conds

    def _say_if_far_above(self, *size):
        height, width = (self.configuration.compression * length for length in size)
        trained = self.configuration.picture_size
        if max(height, width) < FAR * trained:
            return
        text = (
            f"The picture is of {width} x {height} pixels and this model was trained for "
            f"{trained}: it paints small things many times over, and takes "
            f"{width * height / trained**2:.0f} times as long. Make the reference smaller."
        )
        say_once(f"ILVR: {text}")
        _show(text)

    def process_timestep(self, timestep, **kwargs):
        if self.configuration.rescale_timesteps:
            return timestep * (1000 / self.configuration.diffusion_steps)
        return timestep

    def _apply_model(self, *args, **kwargs):
        x0 = super()._apply_model(*args, **kwargs)
        return x0.clamp(-1, 1) if self.configuration.compression == 1 else x0


class Schedule(comfy.model_sampling.ModelSamplingDiscrete):
    """The host's discrete schedule with the table of guided-diffusion, of any length."""

    def __init__(self, configuration: Configuration):
        super().__init__()
        levels = configuration.schedule().levels
        self.set_sigmas(torch.tensor([level.sigma for level in levels], dtype=torch.float64))
        self.num_timesteps = len(levels)

    def percent_to_sigma(self, percent):
        if 0 < percent < 1:
            return float(self.sigma(torch.tensor((1 - percent) * (len(self.sigmas) - 1))))
        return super().percent_to_sigma(percent)


class NoiseSampling(Schedule, comfy.model_sampling.EPS):
    """Of networks that predict the noise."""


class VSampling(Schedule, comfy.model_sampling.V_PREDICTION):
    """Of networks that predict v."""


SAMPLING = {
    "eps": (comfy.model_base.ModelType.EPS, NoiseSampling),
    "v": (comfy.model_base.ModelType.V_PREDICTION, VSampling),
}


class AdmUNet(UNet):
    """The core's U-Net as the host calls it, interruptible between its blocks."""

    def __init__(self, configuration: Configuration, **layers):
        super().__init__(configuration, **layers)
        self.configuration = configuration
        for module in self.modules():
            if isinstance(module, Block):
                module.register_forward_pre_hook(_stop_if_interrupted)

    def forward(self, x, timesteps, context=None, y=None, transformer_options=None, **kwargs):
        """What the host's model sampling takes, the noise in x or v; a learned variance goes where
        transformer_options ask for it."""
        self._check(x, y)
        channels = x.shape[1]
        predicted, variance = super().forward(x, timesteps, y).tensor_split([channels], dim=1)
        take = (transformer_options or {}).get(VARIANCE)
        if take is not None and variance.shape[1]:
            take(variance.float())
        return predicted

    def _check(self, x, y):
        of, cell = self.configuration, self.configuration.compression
        height, width = (size * cell for size in x.shape[-2:])
        if x.shape[1] != of.in_channels:
            raise ValueError(
                f"The latent has {x.shape[1]} channels and this model takes {of.in_channels}; use "
                f"the latent of NoisedReference or the VAE of its loader."
            )
        if cell == 1 and 4 * max(height, width) <= of.image_size:
            raise ValueError(
                f"The latent is of {width} x {height} pixels and this model was trained for "
                f"{of.image_size}: it has no smaller latents, so use the one of NoisedReference."
            )
        step = of.size_step * cell
        if height % step or width % step:
            raise ValueError(
                f"This model makes pictures whose width and height divide by {step}; "
                f"{width} x {height} does not."
            )
        if self.num_classes is not None and y is None:
            raise ValueError(
                "This model needs a class: connect the conditioning of LoadUnconditionalModel."
            )


def _show(text):
    """On the node that is being run, where a server runs it, which has been imported then."""
    running, server = get_executing_context(), sys.modules.get("server")
    if running and server:
        server.PromptServer.instance.send_progress_text(text, running.node_id)


def _stop_if_interrupted(module, args):
    memory.throw_exception_if_processing_interrupted()
