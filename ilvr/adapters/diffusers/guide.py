"""ILVR as a callback of a pipeline: Eq. 8 on the latents between two steps."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor

from ...guidance import ConditioningRange, Refinement
from ...low_pass import BandPassFilter
from ...noise import ItemNoise
from ...reference import NoisedReference
from ...schedule import CLEAN
from . import latents, schedulers
from .pictures import Pictures, fitted, size, videos


def guide(
    pipe,
    image: Pictures,
    low_pass: BandPassFilter,
    range: ConditioningRange = ConditioningRange(),
    *,
    noise: str = "fresh",
    mask: Pictures | None = None,
    seed: int | Sequence[int] = 0,
    height: int | None = None,
    width: int | None = None,
) -> Callable:
    """What a pipeline takes as `callback_on_step_end` (PixArt as `callback`) to give its pictures
    the layout of `image`.

    image: a picture (of pillow, or a file), cropped around its centre to the shape of what the
    pipeline makes; a list of them, cycled to the batch; or a tensor (B, 3, H, W) in [-1, 1] of that
    size. For pipelines of videos one picture is held for all frames, a list is the frames of one
    video, and a list of lists or a tensor (B, 3, T, H, W) is several.
    low_pass: a LowPassFilter or BandPassFilter, its factors in pixels.
    range: the timesteps, of a flow 1000 times sigma.
    noise, seed: of the reference, as of `NoisedReference`; item i takes seed + i, or one of a list.
    mask: white = 1 = follow, of the reference's size; a tensor is (1 or B, 1, H, W) in [0, 1].
    height, width: as given to the pipeline; needed only for those whose latents are tokens (Flux,
    Qwen-Image, LTX), where the picture is of another size.
    Raises ValueError for a pipeline or a scheduler that is not known to follow exactly.
    """
    latents.check(pipe)
    schedulers.check(pipe.scheduler)
    made = Guide(image, low_pass, range, noise, mask, seed, (height, width))
    return made if latents.takes_tensors(pipe) else InPlace(pipe, made)


class Guide:
    """A callback that can be used for any number of runs, one after the other."""

    def __init__(self, image, low_pass, range, noise, mask, seed, size):
        self.image, self.low_pass, self.range = image, low_pass, range
        self.noise, self.mask, self.seed, self.size = noise, mask, seed, size

    def __call__(self, pipe, index: int, timestep, tensors: dict) -> dict:
        """The tensors after step `index`, with latents refined to the level that they enter."""
        x = tensors["latents"]
        if index == 0:
            self._begin(pipe, timestep, x)

        position = schedulers.next_position(pipe.scheduler, self._first, index)
        level = schedulers.level(pipe.scheduler, position)
        if not self._refinement.applies(level):
            return tensors
        x = self._grid.packed(self._refinement.state(self._grid.unpacked(x), level, self._drawn))
        finished = {"denoised": x} if level is CLEAN else {}  # what pipelines of LCM give
        return {**tensors, "latents": x, **finished}

    def _begin(self, pipe, timestep, x: Tensor):
        """Fits the reference to a run whose first step was at this timestep and gave x."""
        schedulers.check(pipe.scheduler)
        self._first = schedulers.first_position(pipe.scheduler, timestep)
        self._grid, self._refinement = self.fit(pipe, x)
        one = isinstance(self.seed, int)
        self._drawn = ItemNoise(range(self.seed, self.seed + len(x)) if one else self.seed)

    def fit(self, pipe, x: Tensor) -> tuple[latents.Grid, Refinement]:
        """The cells that a run's latents x hold, and the refinement on them."""
        pictures = videos(self.image, latents.is_video(pipe))
        own = size(pictures)
        grid = latents.Grid(pipe, x, (self.size[0] or own[0], self.size[1] or own[1]))
        encoded = latents.encode(pipe, fitted(pictures, grid.size), x.device)
        mask = None if self.mask is None else self._mask(own, grid)
        return grid, self.refinement(pipe, grid.of_frames(encoded, "The reference"), mask)

    def refinement(self, pipe, clean: Tensor, mask: Tensor | None = None) -> Refinement:
        """Towards the clean cells of the reference."""
        reference = NoisedReference(clean, self.noise, mask)
        return Refinement(reference, self.low_pass.on_cells(*latents.cell(pipe)), self.range)

    def _mask(self, own, grid):
        """(B, 1, h, w) or (B, 1, T, h, w): the mask on the cells, as the reference is cropped."""
        masks = videos(self.mask, False, "L")
        if size(masks) != own:
            raise ValueError(
                f"The mask has {size(masks)[1]} x {size(masks)[0]} pixels and the reference "
                f"{own[1]} x {own[0]}; give them one size."
            )
        cells = fitted(masks, grid.size)
        cells = cells if isinstance(self.mask, Tensor) else (cells + 1) / 2
        small = F.interpolate(cells[:, :, 0], grid.cells, mode="area")
        return grid.of_frames(small.clamp(0, 1).unsqueeze(2), "The mask")


class InPlace:
    """A guide as a `callback`, which gets the latents alone, and after whole steps only."""

    def __init__(self, pipe, guide: Guide):
        self.pipe, self.guide = pipe, guide

    def __call__(self, index: int, timestep, x: Tensor):
        """Refines x in its place."""
        if self.pipe.scheduler.order > 1:
            raise ValueError(
                f"{type(self.pipe).__name__} does not call back after half steps, which "
                f"{type(self.pipe.scheduler).__name__} has; use DPMSolverMultistepScheduler."
            )
        x.copy_(self.guide(self.pipe, index, timestep, {"latents": x})["latents"])
