"""ILVR in pipelines of diffusers: what enters the network has the low frequencies of y_t."""

import diffusers
import pytest
import torch
from PIL import Image

from ilvr import BandPassFilter, ConditioningRange, ItemNoise, LowPassFilter
from ilvr.adapters.diffusers import guide
from ilvr.image import to_tensor
from tests.adapters.pipelines import FAMILIES, family, level, states
from tooling.hosts import ROOT

REFERENCES = ROOT / "ilvr" / "assets" / "references"
PICTURE, OTHER = REFERENCES / "clip-art.png", REFERENCES / "render-lake.png"
N = 32


def pixels(made, path=PICTURE):
    """(1, 3, T, H, W): a picture of the pipeline's size, held for its frames."""
    height, width = made.inputs["height"], made.inputs["width"]
    picture = Image.open(path).convert("RGB").resize((height, height), Image.Resampling.LANCZOS)
    x = to_tensor(picture)[..., (height - width) // 2 : (height + width) // 2]
    return x.unsqueeze(2).expand(-1, -1, made.frames, -1, -1)


def low(made, cells):
    return LowPassFilter(N / made.pixels)(cells)


def errors(made, found, y, seeds=(0,)):
    """The largest difference in low frequencies between each state and y_t, in units of y_t."""
    skipped = len(made.pipe.scheduler.timesteps) - len(found)  # by image to image
    for i, x in enumerate(found, skipped):
        t, signal, noise = level(made.pipe.scheduler, i)
        y_t = signal * y + noise * ItemNoise(seeds).draw("reference", t, x)
        yield float((low(made, x) - low(made, y_t)).abs().max() / y_t.abs().max())


def error(made, found, y, seeds=(0,)):
    """The largest of them but the first, which is pure noise."""
    return max([*errors(made, found, y, seeds)][1:])


@pytest.mark.parametrize("name", FAMILIES)
def test_what_enters_the_network_follows_the_reference(name):
    made = family(name)
    x = pixels(made)
    found, _ = states(made, callback_on_step_end=guide(made.pipe, x, LowPassFilter(N)))
    assert len(found) == 6
    assert error(made, found, made.clean(x)) < 1e-4


@pytest.mark.parametrize("name", ["stable_diffusion", "flux"])
def test_a_colour_transfer_after_sampling_does_not_pass(name):
    made = family(name)
    y = made.clean(pixels(made))
    found, finished = states(made)
    transferred = made.cells(finished)
    transferred = transferred + low(made, y - transferred)
    assert (low(made, transferred) - low(made, y)).abs().max() < 1e-5
    assert error(made, found, y) > 0.1


@pytest.mark.parametrize(
    "name", ["stable_diffusion", "latent_consistency", "flux", "wan", "sana", "kandinsky"]
)
def test_the_finished_picture_has_the_low_frequencies_of_the_reference(name):
    made = family(name)
    x = pixels(made)
    y = made.clean(x)
    _, finished = states(made, callback_on_step_end=guide(made.pipe, x, LowPassFilter(N)))
    assert (low(made, made.cells(finished) - y)).abs().max() < 1e-5 * y.abs().max()
    assert (made.cells(finished) - y).abs().max() > 0.1 * y.abs().max()


@pytest.mark.parametrize("name", ["stable_diffusion", "flux"])
def test_only_states_in_the_range_follow(name):
    made = family(name)
    y = made.clean(pixels(made))
    g = guide(made.pipe, pixels(made), LowPassFilter(N), ConditioningRange(900, 500))
    found, finished = states(made, callback_on_step_end=g)
    due = [900 >= level(made.pipe.scheduler, i)[0] >= 500 for i in range(len(found))]
    assert True in due and False in due[1:]
    assert [e < 1e-4 for e in errors(made, found, y)][1:] == due[1:]
    assert (low(made, made.cells(finished) - y)).abs().max() > 0.01


def test_every_item_follows_its_own_picture_with_its_own_noise():
    made = family("stable_diffusion")
    y = torch.cat([made.clean(pixels(made, path)) for path in (PICTURE, OTHER)])
    g = guide(made.pipe, [PICTURE, str(OTHER)], LowPassFilter(N), seed=[7, 11])
    found, _ = states(made, callback_on_step_end=g, num_images_per_prompt=2)
    assert error(made, found, y, seeds=(7, 11)) < 0.02  # resampled from 64 pixels a second time

    g = guide(made.pipe, torch.cat([pixels(made, p) for p in (PICTURE, OTHER)]), LowPassFilter(N))
    found, _ = states(made, callback_on_step_end=g, num_images_per_prompt=2)
    assert error(made, found, y, seeds=(0, 1)) < 1e-4


def test_fixed_noise_is_one_noise_for_all_levels():
    made = family("stable_diffusion")
    y = made.clean(pixels(made))
    g = guide(made.pipe, pixels(made), LowPassFilter(N), noise="fixed", seed=3)
    found, _ = states(made, callback_on_step_end=g)
    eps = ItemNoise([3]).draw("reference", 0, y)
    for i, x in enumerate(found[1:], 1):
        _, signal, noise = level(made.pipe.scheduler, i)
        assert low(made, x - signal * y - noise * eps).abs().max() < 1e-4


def test_a_band_is_kept_and_what_lies_outside_is_free():
    made = family("stable_diffusion")
    band = BandPassFilter(16, 64)
    _, finished = states(made, callback_on_step_end=guide(made.pipe, pixels(made), band))
    difference = finished - made.clean(pixels(made))
    assert band.on_cells(8)(difference).abs().max() < 1e-5
    assert LowPassFilter(8)(difference).abs().max() > 0.01


def test_nothing_outside_a_mask_changes():
    made = family("stable_diffusion")
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., :64] = 1
    g = guide(made.pipe, pixels(made), LowPassFilter(1), mask=mask)
    free, _ = states(made)
    found, finished = states(made, callback_on_step_end=g)
    assert torch.equal(found[1][..., 8:], free[1][..., 8:])
    assert torch.allclose(finished[..., :8], made.clean(pixels(made))[..., :8], atol=1e-6)

    picture = Image.fromarray((mask[0, 0].numpy() * 255).astype("uint8"))
    g = guide(
        made.pipe, PICTURE, LowPassFilter(1), mask=picture.resize((256, 256), Image.Resampling.BOX)
    )
    again, _ = states(made, callback_on_step_end=g)
    assert torch.equal(again[1][..., 8:], free[1][..., 8:])
    assert not torch.equal(again[1][..., :8], free[1][..., :8])


def test_a_guide_serves_one_run_after_the_other_and_image_to_image():
    made = family("stable_diffusion")
    g = guide(made.pipe, pixels(made), LowPassFilter(N))
    one, two = (states(made, callback_on_step_end=g)[1] for _ in range(2))
    assert torch.equal(one, two)

    made.pipe = diffusers.StableDiffusionImg2ImgPipeline(
        **made.pipe.components, requires_safety_checker=False
    )
    made.inputs = {k: v for k, v in made.inputs.items() if k not in ("height", "width")}
    picture = pixels(family("stable_diffusion"))[:, :, 0]
    g = guide(made.pipe, picture, LowPassFilter(N))
    made.inputs |= {"image": (picture + 1) / 2, "strength": 0.67}
    found, finished = states(made, callback_on_step_end=g)
    y = made.clean(picture.unsqueeze(2))
    assert len(found) == 4 and error(made, found, y) < 1e-4
    assert low(made, finished - y).abs().max() < 1e-5


def test_half_precision_stays():
    made = family("flux")
    made.pipe.to(torch.bfloat16)
    for key, value in made.inputs.items():
        if isinstance(value, torch.Tensor):
            made.inputs[key] = value.bfloat16()
    g = guide(made.pipe, PICTURE, LowPassFilter(N), height=128, width=96)
    found, finished = states(made, callback_on_step_end=g)
    assert {x.dtype for x in found} == {finished.dtype} == {torch.bfloat16}
    y = made.clean(pixels(made).bfloat16()).float()
    assert error(made, [x.float() for x in found], y) < 0.1


def test_frames_of_a_video_are_followed_each():
    made = family("wan")
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, 9, 128, 128, generator=draws) * 2 - 1
    found, _ = states(made, callback_on_step_end=guide(made.pipe, x, LowPassFilter(N)))
    assert error(made, found, made.clean(x)) < 1e-4

    slow = LowPassFilter(N, frames=9).on_cells(8, 4)
    g = guide(made.pipe, x, LowPassFilter(N, frames=9))
    _, finished = states(made, callback_on_step_end=g)
    assert slow(finished - made.clean(x)).abs().max() < 1e-5
    assert low(made, finished - made.clean(x)).abs().max() > 0.01

    frames = [Image.open(PICTURE)] * 9
    found, _ = states(made, callback_on_step_end=guide(made.pipe, frames, LowPassFilter(N)))
    y = made.clean(pixels(made))
    assert error(made, found, y) < 0.05


@pytest.mark.parametrize(
    "name, given, sentence",
    [
        ("flux", {}, "hold 48 tokens and a picture of 256 x 256 pixels 256; give guide"),
        ("flux", {"height": 128}, "hold 48 tokens and a picture of 256 x 128 pixels 128"),
        (
            "stable_diffusion",
            {"image": torch.zeros(1, 3, 64, 64)},
            "makes 128 x 128; give a tensor",
        ),
        ("stable_diffusion", {"image": torch.zeros(3, 64, 64)}, r"\(B, 3, H, W\) is needed"),
        ("stable_diffusion", {"image": torch.full((1, 3, 128, 128), 255.0)}, "to 255"),
        ("stable_diffusion", {"image": "gone.png"}, "no such picture"),
        ("stable_diffusion", {"image": []}, "give one number of frames"),
        ("stable_diffusion", {"mask": Image.new("L", (8, 8))}, "mask has 8 x 8 pixels"),
        ("stable_diffusion", {"noise": "pink"}, "Unknown reference noise"),
        ("wan", {"image": [PICTURE] * 5}, "has 2 latent frames and the video 3"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(name, given, sentence):
    made = family(name)
    g = guide(made.pipe, **{"image": PICTURE, "low_pass": LowPassFilter(N), **given})
    with pytest.raises(ValueError, match=sentence):
        made.run(callback_on_step_end=g)


def test_other_pipelines_and_schedulers_are_refused_before_they_run():
    made = family("stable_diffusion")
    made.pipe.scheduler = diffusers.UniPCMultistepScheduler()
    with pytest.raises(ValueError, match="UniPCMultistepScheduler corrects"):
        guide(made.pipe, PICTURE, LowPassFilter(N))
    with pytest.raises(ValueError, match="DDPMPipeline is not known"):
        guide(diffusers.DDPMPipeline(made.network, made.pipe.scheduler), PICTURE, LowPassFilter(N))
    upscaler = object.__new__(diffusers.StableDiffusionUpscalePipeline)
    with pytest.raises(ValueError, match="UpscalePipeline takes no callback_on_step_end"):
        guide(upscaler, PICTURE, LowPassFilter(N))


def test_half_steps_that_nobody_hears_of_are_refused():
    made = family("pixart")
    made.pipe.scheduler = diffusers.HeunDiscreteScheduler()
    with pytest.raises(ValueError, match="does not call back after half steps"):
        made.run(callback_on_step_end=guide(made.pipe, PICTURE, LowPassFilter(N)))
