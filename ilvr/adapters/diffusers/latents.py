"""What the latents of a pipeline of diffusers are made of, and how pictures become such."""

import inspect
import math

import torch
import torch.nn.functional as F
from torch import Tensor

PIPELINES = (  # beginnings of the names of the families that are known
    "AnimateDiff", "Chroma", "CogVideoX", "Flux", "HunyuanVideoPipeline", "Kandinsky3",
    "KandinskyV22", "LTX", "LatentConsistencyModel", "PixArt", "QwenImage", "Sana",
    "StableDiffusion", "Wan", "ZImage",
)  # fmt: skip
FRAMES_FIRST = "CogVideoX"  # whose latents are (B, T, C, h, w)
IN_PLACE = "PixArt"  # whose `callback` gets the latents themselves
COMPRESSION = (  # the names of a cell's width in pixels, and of its length in frames
    "vae_scale_factor", "vae_scale_factor_spatial", "vae_spatial_compression_ratio",
)  # fmt: skip
COMPRESSION_IN_TIME = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio")


def check(pipe):
    """Raises ValueError for a pipeline whose latents are not known, or that calls nobody back."""
    names = [kind.__name__ for kind in type(pipe).__mro__]
    if not _is(pipe, PIPELINES):
        raise ValueError(
            f"{names[0]} is not known to ILVR; use one of the families {', '.join(PIPELINES)}."
        )
    if not takes_tensors(pipe) and not names[0].startswith(IN_PLACE):
        raise ValueError(
            f"{names[0]} takes no callback_on_step_end; use a pipeline of its family that does."
        )


def _is(pipe, names):
    return any(kind.__name__.startswith(names) for kind in type(pipe).__mro__)


def takes_tensors(pipe) -> bool:
    """Whether the pipeline takes changed tensors from its callback; else they change in place."""
    return "callback_on_step_end" in inspect.signature(type(pipe).__call__).parameters


def is_video(pipe) -> bool:
    return hasattr(pipe, "video_processor")


class Grid:
    """The grid of cells (B, C, h, w), or (B, C, T, h, w) of videos, that a pipeline's latents hold.

    Latents of tokens (B, T h / p w / p, C p p) hold p x p cells each; their size can't be told
    from their shape. size: of the pictures in pixels, (height, width); used for tokens alone.
    Raises ValueError where the tokens are not those of a picture of this size.
    """

    def __init__(self, pipe, latents: Tensor, size: tuple[int, int]):
        self.pixels, _ = cell(pipe)
        self._frames_first = _is(pipe, FRAMES_FIRST)
        latents = latents.transpose(1, 2) if self._frames_first else latents
        self.channels, self.patch = latents.shape[1], 1
        self.frames = latents.shape[2] if latents.ndim == 5 else 1
        self.cells = tuple(latents.shape[-2:])
        self._tokens = latents.ndim == 3
        self._axes = 5 if latents.ndim == 5 or (self._tokens and is_video(pipe)) else 4
        if self._tokens:
            self._of_tokens(pipe, latents, size)

    def _of_tokens(self, pipe, latents, size):
        config = pipe.vae.config
        self.channels = config.get("latent_channels") or config["z_dim"]
        self.patch = math.isqrt(latents.shape[2] // self.channels)

        step = self.pixels * self.patch
        self.cells = tuple(side // step * self.patch for side in size)
        a_frame = math.prod(side // step for side in size)
        self.frames = latents.shape[1] // a_frame
        if self.frames * a_frame != latents.shape[1] or (self.frames > 1 and not is_video(pipe)):
            raise ValueError(
                f"The latents hold {latents.shape[1]} tokens and a picture of {size[1]} x "
                f"{size[0]} pixels {a_frame}; give guide() the height and width of the pipeline."
            )

    @property
    def size(self) -> tuple[int, int]:
        """Of the pictures, in pixels: height and width."""
        return self.cells[0] * self.pixels, self.cells[1] * self.pixels

    def unpacked(self, latents: Tensor) -> Tensor:
        """The pipeline's latents as cells."""
        if not self._tokens:
            return latents.transpose(1, 2) if self._frames_first else latents
        p, (h, w) = self.patch, self.cells
        x = latents.reshape(-1, self.frames, h // p, w // p, self.channels, p, p)
        x = x.permute(0, 4, 1, 2, 5, 3, 6).reshape(-1, self.channels, self.frames, h, w)
        return x if self._axes == 5 else x[:, :, 0]

    def packed(self, cells: Tensor) -> Tensor:
        """Cells as the pipeline's latents."""
        if not self._tokens:
            return cells.transpose(1, 2) if self._frames_first else cells
        p, (h, w) = self.patch, self.cells
        x = cells.reshape(-1, self.channels, self.frames, h // p, p, w // p, p)
        return x.permute(0, 2, 3, 5, 1, 4, 6).reshape(len(x), -1, self.channels * p * p)

    def of_frames(self, x: Tensor, what: str) -> Tensor:
        """x (B, C, T, h, w) as cells of this many frames, one being held for all.

        Raises ValueError for another number of frames.
        """
        if x.shape[2] not in (1, self.frames):
            raise ValueError(
                f"{what} has {x.shape[2]} latent frames and the video {self.frames}; give as many "
                f"frames as the pipeline's num_frames, or one picture."
            )
        x = x.expand(-1, -1, self.frames, -1, -1)
        return x if self._axes == 5 else x[:, :, 0]


def cell(pipe) -> tuple[int, int]:
    """How wide a cell of the latents is in pixels, and how long in frames."""
    movq = getattr(pipe, "movq", None)
    halvings = len(movq.config.block_out_channels) - 1 if movq else 0
    return _first(pipe, COMPRESSION, 2**halvings), _first(pipe, COMPRESSION_IN_TIME, 1)


def _first(pipe, names, otherwise):
    return next((getattr(pipe, name) for name in names if hasattr(pipe, name)), otherwise)


def encode(pipe, pictures: Tensor, device) -> Tensor:
    """(B, 3, T, H, W) in [-1, 1] -> (B, C, T', h, w), as the pipeline's network knows them."""
    vae = getattr(pipe, "vae", None) or getattr(pipe, "movq", None)
    if vae is None:  # a model of pixels
        return pictures.to(device)
    dtype = vae.dtype
    if dtype == torch.float16 and vae.config.get("force_upcast"):
        vae.to(torch.float32)
    x = pictures.to(device, vae.dtype)
    if _of_videos(vae):
        z = _mode(vae.encode(x))
    else:
        frames = x.transpose(1, 2)  # B T C H W
        z = _mode(vae.encode(frames.flatten(0, 1))).unflatten(0, frames.shape[:2]).transpose(1, 2)
    if vae.dtype != dtype:
        vae.to(dtype)
    return z.float() if vae is getattr(pipe, "movq", None) else _normalised(vae, z.float())


def _of_videos(vae):
    return next(value.ndim for value in vae.encoder.parameters() if value.ndim > 3) == 5


def _mode(encoded):
    if hasattr(encoded, "latent_dist"):
        return encoded.latent_dist.mode()
    return encoded["latents" if "latents" in encoded else "latent"]


def _normalised(vae, z):
    """z (B, C, T, h, w) shifted and scaled as the VAE's own numbers say."""
    if hasattr(vae, "bn"):  # of Flux.2, over the channels of 2 x 2 folded cells
        folded = F.pixel_unshuffle(z.transpose(1, 2), 2)  # B T 4C h/2 w/2
        mean, variance = (_by_channel(value, folded, 2) for value in _statistics(vae.bn))
        folded = (folded - mean) / (variance + vae.config.batch_norm_eps).sqrt()
        return F.pixel_shuffle(folded, 2).transpose(1, 2)
    mean = _number(vae, "latents_mean", vae.config.get("shift_factor") or 0.0)
    scale = vae.config.get("scaling_factor") or 1.0
    return (
        (z - _by_channel(mean, z, 1)) * scale / _by_channel(_number(vae, "latents_std", 1.0), z, 1)
    )


def _statistics(norm):
    return norm.running_mean, norm.running_var


def _number(vae, name, otherwise):
    """Of every channel: a value of the VAE's configuration, or a buffer."""
    value = vae.config.get(name)
    value = dict(vae.named_buffers()).get(name) if value is None else value
    return otherwise if value is None else value


def _by_channel(value, like, axis):
    """Numbers of the channels, or one for all, to go with the channels of `like` (5 axes)."""
    shape = [1] * 5
    shape[axis] = -1
    return torch.as_tensor(value, dtype=torch.float32).to(like.device).reshape(shape)
