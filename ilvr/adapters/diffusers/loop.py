"""The loop of pipelines that call nobody back: DDPMPipeline, DDIMPipeline and their kin."""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor

from ...guidance import ConditioningRange
from ...low_pass import BandPassFilter
from ...noise import ItemNoise
from ...samplers import STARTS
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
    start: str = "noise",
    noise: str = "fresh",
    mask: Pictures | None = None,
    **step,
) -> Tensor:
    """Finished images (B, C, H, W) in about [-1, 1], one a seed, of an unconditional pixel model.

    pipe: holds a `unet` (a UNet2DModel) and a `scheduler`. seeds: of all noise, item by item: the
    start is the same as that of `ilvr.sample`. start: "noise", or "reference", the level below
    which the model decides what the reference has not. step: more for the scheduler's step, such as
    eta.
    image, low_pass, range, noise, mask: as of `guide`. Raises ValueError as `guide` does.
    """
    if start not in STARTS:
        raise ValueError(f"Unknown start {start!r}: choose {' or '.join(STARTS)}.")
    (schedulers.check if start == "noise" else schedulers.check_begin)(pipe.scheduler)
    unet, scheduler, seeds = pipe.unet, pipe.scheduler, list(seeds)
    guide = Guide(image, low_pass, range, noise, mask, seeds, (None, None))
    if "generator" in inspect.signature(scheduler.step).parameters:
        step["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]

    side = unet.config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    blank = torch.empty(len(seeds), unet.config.in_channels, height, width)
    scheduler.set_timesteps(num_inference_steps)
    eps = ItemNoise(seeds).draw("start", 1000, blank)
    x = eps * scheduler.init_noise_sigma
    if start == "reference":
        _, refinement = guide.fit(pipe, blank)
        level = schedulers.begin(scheduler, refinement)
        x = level.noised(refinement.kept(torch.zeros_like(eps)), eps) if level else x
    x = x.to(unet.device, unet.dtype)

    for i, t in enumerate(scheduler.timesteps):
        output = unet(scheduler.scale_model_input(x, t), t).sample
        x = scheduler.step(output, t, x, **step).prev_sample
        x = guide(pipe, i, t, {"latents": x})["latents"]
    return x
