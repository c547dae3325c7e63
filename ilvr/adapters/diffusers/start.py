"""Runs that start from the level of the reference, which a callback cannot bring about."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps

import torch
from torch import Tensor

from . import latents, schedulers
from .guide import Guide, InPlace
from .pictures import fitted, videos

PICTURES = {"image", "images", "video"}  # of which a pipeline makes its first latents


@contextmanager
def from_reference(pipe, guide: Guide | InPlace) -> Iterator[None]:
    """Within it, runs of the pipeline leave out the steps in which the reference has decided
    everything, and begin with its low frequencies, noised to the level of the first step left.

    guide: what `guide` gave, with the height and the width that are given to the pipeline. Where
    the reference leaves something coarse to the model (a mask, a band, a range that begins lower)
    a run starts from noise. The pipeline's `prepare_latents` and its scheduler's `set_timesteps`
    are wrapped until the end. Raises ValueError for those that cannot start there.
    """
    scheduler = pipe.scheduler
    start = _Start(pipe, guide.guide if isinstance(guide, InPlace) else guide)
    pipe.prepare_latents = start.after_latents(pipe.prepare_latents)
    scheduler.set_timesteps = start.after_timesteps(scheduler.set_timesteps)
    try:
        yield
    finally:
        del pipe.prepare_latents, scheduler.set_timesteps


class _Start:
    """Of one run after the other, in which latents and timesteps are made in any order."""

    def __init__(self, pipe, guide: Guide):
        _check(pipe)
        self.pipe, self.guide, self.size = pipe, guide, _size(guide)
        pictures = fitted(videos(guide.image, latents.is_video(pipe)), self.size)
        self.encoded = latents.encode(pipe, pictures, pipe._execution_device)
        self.made: dict = {}

    def after_latents(self, prepare):
        @wraps(prepare)
        def wrapped(*given, **named):
            made = prepare(*given, **named)
            x, *rest = made if isinstance(made, tuple) else (made,)
            x = x.clone()
            scale = getattr(self.pipe.scheduler, "init_noise_sigma", 1.0)
            self._begin(noise=(x, scale))
            return (x, *rest) if rest else x

        return wrapped

    def after_timesteps(self, set_timesteps):
        @wraps(set_timesteps)
        def wrapped(*given, **named):
            set_timesteps(*given, **named)
            y = self.encoded if latents.is_video(self.pipe) else self.encoded[:, :, 0]
            refinement = self.guide.refinement(self.pipe, y)
            masked = self.guide.mask is not None
            level = None if masked else schedulers.begin(self.pipe.scheduler, refinement)
            self._begin(level=level)

        return wrapped

    def _begin(self, **made):
        """Noises the reference by the pipeline's own noise, once that and the level are there."""
        self.made |= made
        if len(self.made) < 2:
            return
        (x, scale), level = self.made["noise"], self.made["level"]
        self.made = {}
        if level is None:
            return
        grid = latents.Grid(self.pipe, x, self.size)
        if grid.size != self.size:
            raise ValueError(
                f"The pipeline makes {grid.size[1]} x {grid.size[0]} pixels and guide() was given "
                f"{self.size[1]} x {self.size[0]}; give both the same."
            )
        eps = grid.unpacked(x).float() / scale
        clean = grid.of_frames(self.encoded, "The reference")
        kept = self.guide.refinement(self.pipe, clean).kept(torch.zeros_like(eps))
        x.copy_(grid.packed(level.noised(kept, eps)))


def _size(guide):
    """Of the pictures, in pixels: height and width."""
    given = guide.image.shape[-2:] if isinstance(guide.image, Tensor) else (None, None)
    size = tuple(own or other for own, other in zip(guide.size, given))
    if None in size:
        raise ValueError(
            "guide() was given no height and width, which the start from a reference goes by; give "
            "it those of the pipeline."
        )
    return size


def _check(pipe):
    schedulers.check_begin(pipe.scheduler)
    name, takes = type(pipe).__name__, set(inspect.signature(pipe.prepare_latents).parameters)
    if takes & PICTURES or hasattr(pipe, "audio_vae") or getattr(pipe, "free_init_enabled", False):
        raise ValueError(
            f"{name} begins with more than pure noise (a picture, sound or FreeInit), which cannot "
            f"start from a reference; start it from noise."
        )
