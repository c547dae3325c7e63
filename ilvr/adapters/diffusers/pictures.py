"""Pictures and masks as a user of diffusers has them -> tensors of the size that is sampled."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...image import open_image, to_rgb, to_tensor

Picture = Image.Image | str | Path
Pictures = Picture | Sequence[Picture] | Sequence[Sequence[Picture]] | Tensor
Videos = list[list[Image.Image]] | Tensor  # (B, C, T, H, W)


def videos(pictures: Pictures, frames: bool, mode: str = "RGB") -> Videos:
    """Any of the forms as videos of frames; of one frame, unless `frames` are asked for.

    mode: RGB, or L for masks. Raises ValueError for a tensor of another shape or with values that
    are none of [-1, 1], for lists that are empty or of unequal lengths, and for unreadable files.
    """
    if isinstance(pictures, Tensor):
        return _checked(pictures, len(Image.new(mode, (1, 1)).getbands()))
    if isinstance(pictures, Picture):
        pictures = [pictures]
    nested = [
        item if isinstance(item, Sequence) and not isinstance(item, str) else [item]
        for item in pictures
    ]
    if frames and all(len(item) == 1 for item in nested):
        nested = [[frame for item in nested for frame in item]]
    if not nested or not nested[0] or len({len(item) for item in nested}) > 1:
        raise ValueError(
            f"The videos have {[len(item) for item in nested]} frames; give one number of frames."
        )
    return [[_opened(picture).convert(mode) for picture in video] for video in nested]


def size(videos: Videos) -> tuple[int, int]:
    """Of the first picture, in pixels: height and width."""
    if isinstance(videos, Tensor):
        return videos.shape[-2], videos.shape[-1]
    return videos[0][0].height, videos[0][0].width


def fitted(videos: Videos, size: tuple[int, int]) -> Tensor:
    """(B, C, T, *size) in [-1, 1]: each picture cropped around its centre and resampled.

    Raises ValueError for a tensor of another size, which is nothing that could be resampled well.
    """
    if not isinstance(videos, Tensor):
        return torch.stack([torch.cat([_fit(p, size) for p in v]) for v in videos]).transpose(1, 2)
    if tuple(videos.shape[-2:]) != tuple(size):
        raise ValueError(
            f"The tensor has {videos.shape[-1]} x {videos.shape[-2]} pixels and the pipeline makes "
            f"{size[1]} x {size[0]}; give a tensor of that size, or a picture, which is resampled."
        )
    return videos


def _fit(picture, size):
    soft = Image.Resampling.LANCZOS if picture.mode == "RGB" else Image.Resampling.BOX
    return to_tensor(ImageOps.fit(picture, (size[1], size[0]), soft))


def _opened(picture):
    return to_rgb(picture) if isinstance(picture, Image.Image) else open_image(picture)


def _checked(x, channels):
    if x.ndim not in (4, 5) or x.shape[1] != channels or not len(x):
        raise ValueError(
            f"The tensor has shape {tuple(x.shape)}; (B, {channels}, H, W) is needed, or "
            f"(B, {channels}, T, H, W) of videos."
        )
    if not x.is_floating_point() or x.abs().max() > 1.001:
        raise ValueError(
            f"The tensor holds {x.dtype} values from {x.min():g} to {x.max():g}; floating-point "
            f"numbers in [-1, 1] are needed."
        )
    return x if x.ndim == 5 else x.unsqueeze(2)
