"""The loop of pipelines that call nobody back: DDPMPipeline, DDIMPipeline and their kin."""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor

from ...guidance import ConditioningRange
from ...low_pass import BandPassFilter
from ...noise import ItemNoise
from . import schedulers
from .guide import Guide
from .pictures import Pictures


@torch.no_grad()
def sample(
    pipe,
    image: Pictures,
    low_pass: BandPassFilter,
    range: ConditioningRange = ConditioningRange(),
    *,
    seeds: Sequence[int] = (0,),
    num_inference_steps: int = 50,
    noise: str = "fresh",
    mask: Pictures | None = None,
    **step,
) -> Tensor:
    """Finished images (B, C, H, W) in about [-1, 1], one a seed, of an unconditional pixel model.

    pipe: holds a `unet` (a UNet2DModel) and a `scheduler`. seeds: of all noise, item by item: the
    start is the same as that of `ilvr.sample`. step: more for the scheduler's step, such as eta.
    image, low_pass, range, noise, mask: as of `guide`. Raises ValueError as `guide` does.
    """
    schedulers.check(pipe.scheduler)
    unet, scheduler, seeds = pipe.unet, pipe.scheduler, list(seeds)
    guide = Guide(image, low_pass, range, noise, mask, seeds, (None, None))
    if "generator" in inspect.signature(scheduler.step).parameters:
        step["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]

    side = unet.config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    blank = torch.empty(len(seeds), unet.config.in_channels, height, width)
    scheduler.set_timesteps(num_inference_steps)
    x = ItemNoise(seeds).draw("start", 1000, blank) * scheduler.init_noise_sigma
    x = x.to(unet.device, unet.dtype)

    for i, t in enumerate(scheduler.timesteps):
        output = unet(scheduler.scale_model_input(x, t), t).sample
        x = scheduler.step(output, t, x, **step).prev_sample
        x = guide(pipe, i, t, {"latents": x})["latents"]
    return x
