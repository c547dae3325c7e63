"""Bands, channels and time through the nodes: what is followed of a picture or a video."""

import dataclasses
import importlib

import comfy.latent_formats
import pytest
import torch

from .host import (
    PACK,
    core,
    gaussian,
    ilvr,
    low_pass,
    node,
    noise,
    picture,
    reference,
    sample,
    sigmas,
    tiny_vae,
)
from .test_graphs import guided_graph, result
from .test_graphs import node as graph_node
from .test_sampler import KINDS

latents, run = (importlib.import_module(f"{PACK}.nodes.host.{name}") for name in ("latents", "run"))
IMAGE = picture(1, 32, 32, 3)
KEPT = {
    "all but the mean": ("BandPassFilter", 1, 64, "cubic"),
    "all up to 8": ("BandPassFilter", 1, 8, "cubic"),
    "from 2 to 8": ("BandPassFilter", 2, 8, "linear"),
    "all from 4 on": ("BandPassFilter", 4, 16384, "cubic"),
    "luminance": ("LowPassFilter", 4, "cubic", True, None, "luminance"),
    "colour": ("BandPassFilter", 1, 16384, "cubic", None, "colour"),
}


def clean(image=IMAGE):
    return image.movedim(-1, 1) * 2 - 1


@pytest.mark.parametrize("guide", ["state", "prediction"])
@pytest.mark.parametrize("kept", KEPT)
def test_every_band_is_followed_and_the_rest_is_free(kept, guide):
    phi = node(*KEPT[kept])[0]
    got = sample(gaussian(), ilvr(phi=phi, guide=guide), sigmas(gaussian()))
    off, rest = phi(got - clean()), (got - clean()) - phi(got - clean())
    assert off.abs().max() < 1e-4 < 0.05 < rest.abs().max()


def test_the_end_of_the_widget_keeps_all_that_is_coarse():
    x = noise(1, 3, 40, 32)
    assert torch.equal(node("BandPassFilter", 8, 16384, "cubic")[0](x), low_pass(8)(x))


def test_bands_count_image_pixels_on_latents_and_channels_are_refused_there():
    model, vae = gaussian(latent_format=comfy.latent_formats.SD15), tiny_vae()
    image = picture(1, 256, 256, 3)
    encoded, ref = vae.encode(image), reference(image, vae)
    phi = node("BandPassFilter", 16, 64, "cubic")[0]
    got = sample(model, ilvr("euler", ref, phi), sigmas(model), latent=torch.zeros_like(encoded))
    assert core.BandPassFilter(2, 8)(got - encoded).abs().max() < 1e-4
    with pytest.raises(ValueError, match="Colour can't be told apart in the latents"):
        phi = core.LowPassFilter(32, channels="colour")
        sample(model, ilvr("euler", ref, phi), sigmas(model), latent=torch.zeros_like(encoded))
    with pytest.raises(ValueError, match="no more than the 8 pixels of a latent cell"):
        ilvr("euler", ref, core.BandPassFilter(1, 8))
    with pytest.raises(ValueError, match="the reference itself; use a factor of 16 or more"):
        ilvr("euler", ref, core.BandPassFilter(8))


class Coloured(comfy.latent_formats.SD15):
    """Of latents whose channels are known to add up to colours so."""

    colours = noise(4, 3, seed=9)


def test_luminance_is_followed_in_latents_whose_colours_are_known():
    model, vae, image = gaussian(latent_format=Coloured), tiny_vae(), picture(1, 256, 256, 3)
    y, phi = vae.encode(image), core.LowPassFilter(32, channels="luminance")
    follow = ilvr("euler", reference(image, vae), phi)
    got = sample(model, follow, sigmas(model), latent=torch.zeros_like(y))
    off = low_pass(4)(got - y)
    luminance = off.movedim(1, -1) @ Coloured.colours.mean(1)
    assert luminance.abs().max() < 1e-4 < 0.05 < off.abs().max()


@pytest.mark.parametrize(
    "name, stride", [("LTXV", 8), ("Mochi", 6), ("Wan21", 4), ("Wan22", 4), ("SDXL", 1)]
)
def test_how_many_pictures_a_latent_frame_holds(name, stride):
    assert latents.frames_a_cell(getattr(comfy.latent_formats, name)()) == stride


class Causal(comfy.latent_formats.ChromaRadiance):
    """Of videos: the first latent frame is one picture, each other four."""

    latent_dimensions, temporal_downscale_ratio = 3, 4


@pytest.mark.parametrize("frames", [1, 9, 16384])
def test_a_video_is_followed_over_time(frames):
    model, y = gaussian(latent_format=Causal), noise(1, 3, 6, 32, 32, seed=4)
    phi = node("LowPassFilter", 4, "cubic", True, frames=frames)[0]
    video = dataclasses.replace(reference(), samples=y)
    got = sample(model, ilvr("euler", video, phi), sigmas(model), latent=torch.zeros_like(y))
    latent_phi = phi.on_cells(1, 4)
    assert latent_phi(got - y).abs().max() < 1e-4
    each = low_pass(4)(got - y)
    assert (each.abs().max() < 1e-4) == (frames == 1)
    if frames == 16384:
        assert each.mean(2).abs().max() < 1e-4


@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_video_is_anchored_to_another_one_by_its_mean_over_time(count):
    model, y = gaussian(latent_format=Causal), noise(1, 3, count, 32, 32, seed=4)
    video, latent = dataclasses.replace(reference(), samples=y), torch.zeros(1, 3, 6, 32, 32)
    phi = core.LowPassFilter(4, frames=16384)
    got = sample(model, ilvr("euler", video, phi), sigmas(model), latent=latent)
    assert low_pass(4)(got.mean(2) - y.mean(2)).abs().max() < 1e-4
    moving = got - got.mean(2, keepdim=True)
    assert low_pass(4)(moving).std() > 0.05
    if count > 1:
        with pytest.raises(ValueError, match=f"{count} latent frames and the latent 6"):
            sample(
                model, ilvr("euler", video, core.LowPassFilter(4, frames=9)), sigmas(model),
                latent=latent,
            )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_under_a_grey_mask_states_of_every_kind_keep_their_noise(kind):
    model, phi, count = gaussian(**KINDS[kind]), core.LowPassFilter(2), 96
    level = run.SigmaLevel(float(sigmas(model)[3]), model.get_model_object("model_sampling"))
    y = torch.zeros(count, 3, 32, 32)
    x = level.noised(y, noise(*y.shape))
    for grey in (0.3, 0.5, 0.7, 0.9):
        grey_reference = core.NoisedReference(y, mask=torch.full((1, 1, 32, 32), grey))
        refined = core.Refinement(grey_reference, phi).state(x, level, core.ItemNoise(range(count)))
        assert abs(phi(refined).var() / phi(x).var() - 1) < 0.02
        assert phi(refined - x).var() > 0.001 * phi(x).var()


def test_a_filter_shows_what_it_keeps_around_mid_grey():
    graph = guided_graph() | {
        "5": graph_node("BandPassFilter", finest=1, coarsest=16, kernel="cubic", image=["2", 0]),
        "7": graph_node("ApplyLowPass", image=["2", 0], low_pass=["5", 0]),
    }
    kept, rest, image = (result(graph, of) for of in (("7", 0), ("7", 1), ("2", 0)))
    assert (kept + rest - 0.5 - image).abs().max() < 1e-6
    assert abs(kept.mean() - 0.5) < 0.01 and abs(rest.mean() - image.mean()) < 0.01


def test_what_is_constant_over_a_clip_is_matched_and_its_motion_stays():
    clip, other = picture(6, 32, 32, 3) * 0.1 + 0.4, picture(2, 64, 64, 3, seed=3) * 0.1 + 0.5
    phi = core.LowPassFilter(8, frames=6)
    matched = node("MatchLowFrequencies", clip, other, phi)[0]
    low = [core.LowPassFilter(8)(video.movedim(-1, 1)) for video in (matched, clip)]
    assert (low[0].mean((0, 2, 3)) - other.mean((0, 1, 2))).abs().max() < 0.01
    moved = [video - video.mean(0) for video in low]
    assert (moved[0] - moved[1]).abs().max() < 0.005 < moved[0].abs().max()
    one_by_one = node("MatchLowFrequencies", clip, other, core.LowPassFilter(8))[0]
    assert (one_by_one - matched).abs().max() > 0.01


def test_a_sweep_takes_bands():
    filters, _, labels = node("ILVRSweep", "8, 16", "0", keep="low, high, 4-32")
    assert [phi.keep for phi in filters] == ["low", "low", "1-8", "1-16", "4-32"]
    assert labels[2] == "N = 1-8 | 1000-0" and labels[4] == "N = 4-32 | 1000-0"
    with pytest.raises(ValueError, match="can't be kept; give low, high"):
        node("ILVRSweep", "8", "0", keep="most")
    with pytest.raises(ValueError, match="keep is empty"):
        node("ILVRSweep", "8", "0", keep=" ")
