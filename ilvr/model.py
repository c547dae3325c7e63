"""A diffusion model: its configuration, its network as the samplers call it, and, where it paints
latents, the autoencoder between those and pictures."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Annotated, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor

from .autoencoder import Autoencoder
from .kinds import Kind, between, flag, optional, several, whole, word
from .schedule import ENDS, LENGTH, NAMES, BetaRange, NoiseSchedule
from .unet import UNet

ACTIVATIONS = 15  # tensors of full size and width that a forward pass has room for, at most
MEMINFO = Path("/proc/meminfo")  # of Linux
PREDICTIONS = ("eps", "v")  # what a network gives: the noise, or signal * noise - noise * image


@dataclass(frozen=True)
class Configuration:
    """A model and its diffusion, in the names of guided-diffusion's flags where it has one.

    `norm_groups` and `norm_eps` are of every normalisation; `sine_first` and `frequency_shift` are
    those of `timestep_embedding`; `asymmetric_downsample` pads strided convolutions at the right
    and the bottom only; `beta_range` is the first and the last beta, as for `NoiseSchedule`;
    `compression` is how many pixels a side of a latent cell has, 1 in models of pixels. Sizes and
    channels are those of the network, in a latent model of latents.
    Raises ValueError for a value of another kind than stands here, and for a size that the network
    can't halve.
    """

    # Read from keys and shapes.
    model_channels: Annotated[int, whole(1, 16384)]
    channel_mult: Annotated[tuple[float, ...], several(between(0, 64), 1, 12)]
    num_res_blocks: Annotated[int, whole(1, 64)]
    attention_rates: Annotated[tuple[int, ...], several(whole(1, 65536), 0, 12)]
    in_channels: Annotated[int, whole(1, 1024)] = 3
    num_classes: Annotated[int | None, optional(whole(1, 1_000_000))] = None
    learn_sigma: Annotated[bool, flag()] = True
    use_scale_shift_norm: Annotated[bool, flag()] = True
    resblock_updown: Annotated[bool, flag()] = True
    # Not in the shapes.
    image_size: Annotated[int, whole(1, 16384)] = 256
    num_heads: Annotated[int, whole(1, 1024)] = 1
    num_head_channels: Annotated[int | None, optional(whole(1, 16384))] = 64
    use_new_attention_order: Annotated[bool, flag()] = False
    noise_schedule: Annotated[str, word(*NAMES)] = "linear"
    diffusion_steps: Annotated[int, LENGTH] = 1000
    rescale_timesteps: Annotated[bool, flag()] = False
    sigma_small: Annotated[bool, flag()] = False  # ddpm's variance where it is not learned
    # The same in all of guided-diffusion; not in diffusers.
    norm_groups: Annotated[int, whole(1, 16384)] = 32
    norm_eps: Annotated[float, between(0, 1)] = 1e-5
    sine_first: Annotated[bool, flag()] = False
    frequency_shift: Annotated[int, whole(0, 100)] = 0
    asymmetric_downsample: Annotated[bool, flag()] = False
    beta_range: Annotated[BetaRange, ENDS] = None
    prediction: Annotated[str, word(*PREDICTIONS)] = "eps"
    compression: Annotated[int, whole(1, 64)] = 1

    def __post_init__(self):
        for name, kind in kinds().items():
            object.__setattr__(self, name, kind.of(name, getattr(self, name)))
        if self.image_size % self.size_step:
            raise ValueError(
                f"image_size = {self.image_size}, which the network can't halve as often as it "
                f"does: a multiple of {self.size_step} is needed."
            )

    @property
    def size_step(self) -> int:
        """Height and width must be multiples of this."""
        return 2 ** (len(self.channel_mult) - 1)

    @property
    def picture_size(self) -> int:
        """Pixels of a side of its pictures."""
        return self.image_size * self.compression

    @property
    def picture_channels(self) -> int:
        """3, or 1 of a model of grey pictures."""
        return 3 if self.compression > 1 else self.in_channels

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the full size down."""
        return [round(mult * self.model_channels) for mult in self.channel_mult]

    @property
    def variance(self) -> str:
        """Of ddpm, where nothing else is asked for: learned, or what the model's project takes."""
        return "learned" if self.learn_sigma else "small" if self.sigma_small else "large"

    @property
    def out_channels(self) -> int:
        return self.in_channels * (1 + self.learn_sigma)

    def network(self, **layers) -> UNet:
        """The U-Net of this configuration; `layers` are UNet's operations, dtype and device."""
        return UNet(self, **layers)

    def schedule(self) -> NoiseSchedule:
        return NoiseSchedule.named(self.noise_schedule, self.diffusion_steps, self.beta_range)

    def heads(self, channels: int) -> int:
        """Of the attention over that many channels."""
        return channels // self.num_head_channels if self.num_head_channels else self.num_heads


@cache
def kinds() -> dict[str, Kind]:
    """What each value of a configuration may be."""
    hints = get_type_hints(Configuration, include_extras=True)
    return {name: hints[name].__metadata__[0] for name in Configuration.__dataclass_fields__}


class DiffusionModel:
    """A network with its configuration and schedule: what the samplers need of a checkpoint.

    autoencoder: of a latent model, whose own space, that of what is sampled and followed, is
    latents; a model of pixels has the pictures themselves. assumed: those values of the
    configuration, as `name = value`, that nothing has confirmed.
    """

    def __init__(
        self,
        network: UNet,
        configuration: Configuration,
        autoencoder: Autoencoder | None = None,
        *,
        assumed: Sequence[str] = (),
    ):
        self.network, self.configuration = network, configuration
        self.autoencoder = autoencoder
        self.schedule = configuration.schedule()
        self.assumed = list(assumed)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] in the model's own space: latents (B, C, H/8, W/8)."""
        if self.autoencoder is None:
            return pictures
        return _one_by_one(self.autoencoder.encode, pictures.to(self.device).float())

    def decode(self, x: Tensor) -> Tensor:
        """The pictures (B, 3, H, W), in about [-1, 1], of what the model samples."""
        return x if self.autoencoder is None else _one_by_one(self.autoencoder.decode, x.float())

    def colours(self) -> Tensor | None:
        """(C, 3), how the channels of latents add up to R, G and B; None of a pixel model."""
        return None if self.autoencoder is None else self.autoencoder.colours()[0]

    def on_cells(self, mask: Tensor) -> Tensor:
        """A mask (B, 1, H, W) of pictures in the model's own space: the mean over each cell."""
        return F.avg_pool2d(mask, self.configuration.compression)

    def at_once(self, count: int, free: int | None = None) -> int:
        """How many of so many pictures go through the network together, by the `free` bytes of
        memory, which are those of the device where none are given."""
        free = free_memory(self.device) if free is None else free
        size, width = self.configuration.image_size, self.configuration.widths[0]
        picture = ACTIVATIONS * width * size**2 * self.network.dtype.itemsize
        return max(1, min(count, free // picture))

    def denoiser(self, label: int | None = None):
        """`(x, t) -> noise prediction`, t the paper's timestep; `label` for conditional models."""
        whole, most = self._at_timesteps(self.network, label), self.at_once(sys.maxsize)

        def network(x, t):
            parts = x.split(most)
            return torch.cat([whole(part, t) for part in parts]) if parts[1:] else whole(x, t)

        if self.configuration.prediction == "eps":
            return network

        def denoiser(x, t):
            level = self.schedule.at(t)
            v, variance = network(x, t).tensor_split([x.shape[1]], dim=1)
            return torch.cat([level.signal * v + level.noise * x, variance], dim=1)

        return denoiser

    def encoder(self, label: int | None = None):
        """`(x, t) -> [(B, C, h, w), ...]`: what the blocks of the network give on the way down."""
        return self._at_timesteps(lambda *inputs: self.network.encode(*inputs)[0], label)

    def _at_timesteps(self, network, label):
        classes = self.configuration.num_classes
        if classes is None and label is not None:
            raise ValueError(f"Class label {label} was given, but this model has no classes.")
        if classes is not None and not (isinstance(label, Integral) and 0 <= label < classes):
            given = "No class label was given" if label is None else f"Class label {label} is given"
            raise ValueError(f"{given}; this model needs one from 0 to {classes - 1}.")

        @torch.inference_mode()
        def called(x, t):
            y = None if label is None else torch.full((len(x),), label, device=x.device)
            return network(x.contiguous(memory_format=torch.channels_last), self.timesteps(t, x), y)

        return called

    def timesteps(self, t: float, x: Tensor) -> Tensor:
        """(B,) what the network takes for the paper's timestep t: its index in training."""
        index = t * self.configuration.diffusion_steps / 1000 - 1
        if self.configuration.rescale_timesteps:
            index *= 1000 / self.configuration.diffusion_steps
        return torch.full((len(x),), index, device=x.device)


def free_memory(device: torch.device) -> int:
    """Bytes that a device has left; of devices that do not say, as many as anybody could want."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type == "cpu" and MEMINFO.exists():
        lines = MEMINFO.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvail"))
    return 2**62


def _one_by_one(function, items):
    """What the function gives of each, so that no item depends on its batch, nor does memory."""
    return torch.cat([function(item) for item in items.split(1)])
