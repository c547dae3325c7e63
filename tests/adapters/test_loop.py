"""The loop for pipelines of diffusers that call nobody back, beside the samplers of the core."""

import diffusers
import pytest
import torch

import ilvr
from ilvr.adapters.diffusers import sample
from ilvr.schedule import CLEAN
from tooling.hosts import ROOT

PICTURE = ROOT / "ilvr" / "assets" / "references" / "clip-art.png"
LOW_PASS = ilvr.LowPassFilter(4)


def pipeline(scheduler):
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=32,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )
    return diffusers.DDPMPipeline(unet.eval(), scheduler)


def core(pipe, sampler, steps, seeds, start="noise", **settings):
    """The same, with a sampler of the core on the pipeline's network."""
    schedule = ilvr.NoiseSchedule.linear()
    levels = [schedule.levels[t] for t in range(0, 1000, 1000 // steps)][::-1]
    noise = ilvr.ItemNoise(seeds)
    y = ilvr.load_image(PICTURE, 32)
    refinement = ilvr.Refinement(ilvr.NoisedReference(y), LOW_PASS)
    x = noise.draw("start", 1000, y.expand(len(seeds), -1, -1, -1))
    if start == "reference":
        levels = levels[refinement.start(levels) :]
        x = levels[0].noised(refinement.kept(torch.zeros_like(x)), x)
    denoiser = torch.no_grad()(lambda x, t: pipe.unet(x, round(t) - 1).sample)
    for step in sampler(denoiser, x, [*levels, CLEAN], noise, refinement, **settings):
        pass
    return step.x


def test_ddim_gives_the_picture_of_the_core():
    pipe = pipeline(diffusers.DDIMScheduler())
    ours = core(pipe, ilvr.ddim, 10, [3, 5])
    settings = {"num_inference_steps": 10, "use_clipped_model_output": True}  # as the core does
    x = sample(pipe, PICTURE, LOW_PASS, seeds=[3, 5], **settings)
    assert (x - ours).abs().max() < 1e-5
    y = ilvr.load_image(PICTURE, 32)
    assert (LOW_PASS(x) - LOW_PASS(y)).abs().max() < 1e-5 and (x - y).abs().max() > 0.5


def test_from_the_reference_it_is_the_picture_of_the_core_in_fewer_calls():
    pipe = pipeline(diffusers.DDIMScheduler())
    calls = []
    pipe.unet.register_forward_pre_hook(lambda network, given: calls.append(int(given[1])))
    settings = {"num_inference_steps": 10, "use_clipped_model_output": True}
    x = sample(pipe, PICTURE, LOW_PASS, seeds=[3, 5], start="reference", **settings)
    assert calls == list(range(calls[0], -1, -100)) and 1 < len(calls) < 8
    assert (x - core(pipe, ilvr.ddim, 10, [3, 5], start="reference")).abs().max() < 1e-5
    y = ilvr.load_image(PICTURE, 32)
    assert (LOW_PASS(x) - LOW_PASS(y)).abs().max() < 1e-5 and (x - y).abs().max() > 0.1


def test_a_start_that_is_none_is_told():
    with pytest.raises(ValueError, match="Unknown start 'image': choose noise or reference"):
        sample(pipeline(diffusers.DDIMScheduler()), PICTURE, LOW_PASS, start="image")
    with pytest.raises(ValueError, match="PNDMScheduler plans its steps from pure noise"):
        sample(pipeline(diffusers.PNDMScheduler()), PICTURE, LOW_PASS, start="reference")


@pytest.mark.parametrize(
    "kind", ["DDPMScheduler", "PNDMScheduler", "EulerAncestralDiscreteScheduler"]
)
def test_an_item_is_the_same_alone_and_in_a_batch(kind):
    pipe = pipeline(getattr(diffusers, kind)())
    settings = {"num_inference_steps": 8}
    one = sample(pipe, PICTURE, LOW_PASS, seeds=[5], **settings)
    both = sample(pipe, PICTURE, LOW_PASS, seeds=[3, 5], **settings)
    largest = one.abs().max()  # far from [-1, 1]: the weights are random
    assert (both[1:] - one).abs().max() < 1e-5 * largest
    assert (both[0] - both[1]).abs().max() > 0.1
    y = ilvr.load_image(PICTURE, 32)
    assert (LOW_PASS(both) - LOW_PASS(y)).abs().max() < 1e-5 * largest


def test_a_range_ends_before_the_finished_picture():
    pipe = pipeline(diffusers.DDIMScheduler())
    x = sample(pipe, PICTURE, LOW_PASS, ilvr.ConditioningRange(1000, 500), num_inference_steps=8)
    assert (LOW_PASS(x) - LOW_PASS(ilvr.load_image(PICTURE, 32))).abs().max() > 0.01


def test_a_scheduler_that_does_not_follow_is_refused():
    with pytest.raises(ValueError, match="UniPCMultistepScheduler corrects"):
        sample(pipeline(diffusers.UniPCMultistepScheduler()), PICTURE, LOW_PASS)
