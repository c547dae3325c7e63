"""A reference between the VAE that encoded it and the run that follows it."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...ilvr import NoisedReference

TILES = "In tiles, faces or crops leave reference unconnected: each then follows what it was."


@dataclass(frozen=True)
class EncodedReference:
    """What a NoisedReference node hands on: the picture as its VAE gave it.

    samples: (B, C, h, w), or (B, C, T, h, w) of a video. compression: image pixels a latent cell.
    mask: (B, H, W) in [0, 1] at any size, 1 = follow, or None. noise, seed: as in the core.
    pictures: (B, C, 1, h, w), the frames of a video each by itself, for models of pictures.
    """

    samples: Tensor
    compression: float
    noise: str = "fresh"
    mask: Tensor | None = None
    seed: int | None = None
    pictures: Tensor | None = None

    @property
    def cell(self) -> float:
        """Image pixels along the side of a cell of the latent's true grid."""
        folded = self.samples.shape[1] == 128 and self.compression == 16  # as Flux.2 does
        return self.compression / (2 if folded else 1)

    @property
    def count(self) -> int:
        """Of pictures or videos."""
        return len(self.samples if self.pictures is None else self.pictures)

    def fitted(self, model, x: Tensor, numbers: Sequence[int], low_pass) -> NoisedReference:
        """The core's reference for states like x, in the model's own space.

        numbers: of the batch's items, which choose their reference and its noise. low_pass: of
        the model's latents; where it keeps only what all frames share, the reference's frames may
        be others than x's. Raises ValueError for other channels, another aspect or another number
        of frames.
        """
        one_frame = x.ndim == 4 or x.shape[2] == 1
        samples = self.samples if self.pictures is None or not one_frame else self.pictures
        samples, own = _match_frames(samples.float(), x, model, low_pass)
        _say_what_is_left_out(samples, x, numbers)
        if samples.shape[1] != x.shape[1]:
            raise ValueError(
                f"The reference has {samples.shape[1]} channels and the latent {x.shape[1]}; "
                f"encode the reference with the VAE of the model that samples."
            )
        samples = model.process_latent_in(_match_size(samples, x, self.compression))
        mask = None if self.mask is None else _match_mask(self.mask, samples)
        if own is not None:
            mask = (1 if mask is None else mask) * own.expand(1, -1, -1, *samples.shape[-2:])
        seeds = None if self.seed is None else item_seeds(self.seed, numbers)
        items = (_items(part, numbers) for part in (samples.to(x.device), mask))
        return NoisedReference(next(items), self.noise, next(items), seeds)


def item_seeds(seed: int, numbers: Sequence[int]) -> list[int]:
    """A seed for each item; one below 0 is folded as the host folds it."""
    return [seed % 2**64 + number for number in numbers]


def _items(part, numbers):
    return None if part is None else part[[number % len(part) for number in numbers]]


def _say_what_is_left_out(samples, x, numbers):
    if len(samples) > len(x) and numbers == list(range(len(x))):
        say_once(
            f"ILVR: {len(samples)} references and {len(x)} to sample: the others are not followed. "
            f"Set batch_size to {len(samples)} to follow each."
        )


def encode(vae, image: Tensor, length: int) -> tuple[Tensor, Tensor | None]:
    """The VAE's latents of pictures (B, H, W, 3), or of B frames of a video; one picture is held
    for `length` frames. Beside a video's: those of each of its frames as a picture of its own,
    for models that paint pictures with a VAE of videos.

    Raises ValueError for a length that is not that of the frames.
    """
    video = vae.latent_dim == 3 and not vae.not_video
    if length > 1 and not video:
        raise ValueError(f"This VAE encodes pictures; set length to 1 instead of {length}.")
    if length > 1 and len(image) not in (1, length):
        raise ValueError(
            f"The reference has {len(image)} frames and length is {length}; give as many frames, "
            f"or one picture."
        )
    held = image.expand(length, -1, -1, -1) if len(image) < length else image
    if not video or length > 1 or len(image) == 1:
        return vae.encode(held), None
    return vae.encode(held), torch.cat([vae.encode(picture[None]) for picture in image])


def _match_frames(samples, x, model, low_pass):
    """samples with as many frames as x, and a mask (1, 1, T, 1, 1) where x has more of them."""
    if samples.ndim == 4 and x.ndim == 5:  # of a VAE that encodes each frame by itself
        samples = samples.unsqueeze(2)
    if samples.ndim == 5 and x.ndim == 4 and samples.shape[2] == 1:
        samples = samples.squeeze(2)
    if samples.ndim != x.ndim:
        raise ValueError("The reference is a video and the latent a picture; give one frame.")
    if x.ndim == 4 or samples.shape[2] == x.shape[2]:
        return samples, None
    kind = type(model).__name__
    if low_pass.is_mean_over(max(samples.shape[2], x.shape[2])):
        samples = samples.mean(2, keepdim=True)
    if samples.shape[2] == 1 and kind != "QwenImage":
        return samples.expand(-1, -1, x.shape[2], -1, -1), None
    before, after = _added_frames(kind, x.shape[2] - samples.shape[2])
    if before == after == 0:
        raise ValueError(
            f"The reference has {samples.shape[2]} latent frames and the latent {x.shape[2]}; "
            f"set length in NoisedReference to the video's number of frames, or give as many. "
            f"Frames or layers that another node adds (such as EmptyQwenImageLayeredLatentImage) "
            f"can't be told from the picture's."
        )
    pad = torch.nn.functional.pad
    own = torch.ones(1, 1, samples.shape[2], 1, 1)
    edges = (0, 0, 0, 0, before, after)
    return pad(samples, edges), pad(own, edges)


def _added_frames(kind, more):
    """How many latent frames a graph has put before and behind those of the video: the pictures
    of VACE stand before, the guides of LTXVAddGuide behind."""
    if more > 0 and "Vace" in kind:
        return more, 0
    if more > 0 and kind.startswith("LTX"):
        return 0, more
    return 0, 0


def _match_size(samples, x, compression):
    (h, w), (height, width) = samples.shape[-2:], x.shape[-2:]
    if (h, w) == (height, width):
        return samples
    sizes = [f"{b * compression:g} x {a * compression:g}" for a, b in ((h, w), (height, width))]
    if abs(w * height / h - width) > 1 and abs(h * width / w - height) > 1:
        raise ValueError(
            f"The reference is {sizes[0]} pixels and the image {sizes[1]}; crop the reference to "
            f"the image's shape. {TILES}"
        )
    say_once(
        f"ILVR: the reference is {sizes[0]} pixels and the image {sizes[1]}: all of it is followed "
        f"in every image, made as large. {TILES}"
    )
    return resampled(samples, (height, width))


@functools.cache
def say_once(text: str):
    """To the log, once for all runs that would say the same."""
    logging.warning(text)


def _match_mask(mask, samples):
    """(B, H, W) -> (B, 1, h, w), or frames (F, H, W) -> (1, 1, T, h, w) of a video."""
    mask = mask.float().reshape(-1, *mask.shape[-2:])
    mask = mask[:, None] if samples.ndim == 4 else mask[None, None]
    return F.interpolate(mask, samples.shape[2:], mode="area").clamp(0, 1).to(samples.device)


def resampled(x: Tensor, size) -> Tensor:
    """x (B, C, ..., h, w) at another size of the last two axes."""
    frames = x.movedim(1, -3)  # B ... C h w
    small = F.interpolate(
        frames.reshape(-1, *frames.shape[-3:]), size, mode="bicubic", antialias=True
    )
    return small.reshape(*frames.shape[:-2], *size).movedim(-3, 1)


def empty_latent(samples: Tensor, batch_size: int) -> dict:
    return {"samples": torch.zeros(batch_size, *samples.shape[1:])}
