"""Kinds of latents, references and batches that other people's graphs bring."""

import dataclasses
import importlib
import logging

import comfy.latent_formats
import comfy.sample
import pytest
import torch

import nodes

from .architectures import ARCHITECTURES
from .host import (
    PACK,
    SEED,
    ModelType,
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
)
from .test_sampler import clean

PHI = core.LowPassFilter(4)


def off(got, wanted, phi=PHI):
    return float((phi(got) - phi(wanted)).abs().max())


def test_denoised_output_is_as_exact_as_output():
    for guide in ("state", "prediction"):
        for name in ("euler", "dpmpp_2m", "heun"):
            model, seen = gaussian(), []
            got = sample(
                model, ilvr(name, guide=guide), sigmas(model),
                callback=lambda i, x0, x, n, seen=seen: seen.append(x0),
            )  # fmt: skip
            assert max(off(got, clean()), off(seen[-1], clean())) < 1e-5


def in_batch(model, sampler, latent):
    """A graph's KSampler: the host's own noise, by the latent's batch_index."""
    samples = latent["samples"]
    start = comfy.sample.prepare_noise(samples, SEED, latent.get("batch_index"))
    return sample(model, sampler, sigmas(model), latent=samples, start=start)


@pytest.mark.parametrize("kind", ["EPS", "FLOW", "EDM"])
@pytest.mark.parametrize("name", ["euler", "ddim"])
def test_an_item_made_again_alone_is_the_same_bit_for_bit(kind, name):
    model = gaussian(getattr(ModelType, kind))
    images = picture(2, 32, 32, 3, seed=4)
    for batch in (torch.zeros(3, 3, 32, 32), picture(3, 3, 32, 32, seed=6)):
        for ref in (reference(images), reference(images, seed=5)):
            sampler = ilvr(name, ref)
            whole = in_batch(model, sampler, {"samples": batch})
            for i in range(3):
                (one,) = nodes.LatentFromBatch().frombatch({"samples": batch}, i, 1)
                assert torch.equal(in_batch(model, sampler, one), whole[i : i + 1])


def test_a_fixed_batch_seed_is_fixed():
    behaviour = nodes.NODE_CLASS_MAPPINGS["LatentBatchSeedBehavior"]
    latent = {"samples": torch.zeros(3, 3, 32, 32)}
    run = getattr(behaviour, "op", None) or behaviour.execute
    fixed = run(behaviour(), latent, "fixed") if hasattr(behaviour, "op") else run(latent, "fixed")
    got = in_batch(gaussian(), ilvr(), fixed[0])
    assert torch.equal(got[0], got[1]) and torch.equal(got[0], got[2])


def test_items_of_a_batch_differ():
    got = in_batch(gaussian(), ilvr(), {"samples": torch.zeros(2, 3, 32, 32)})
    assert (got[0] - got[1]).abs().max() > 0.1


def test_references_that_are_not_followed_are_said(caplog):
    model, images = gaussian(), picture(3, 32, 32, 3, seed=8)
    with caplog.at_level(logging.WARNING):
        sample(model, ilvr("euler", reference(images)), sigmas(model))
    assert "3 references and 1 to sample" in caplog.text and "batch_size to 3" in caplog.text


def test_a_reference_of_another_size_is_said_once_with_the_hint_for_tiles(caplog):
    model, ref = gaussian(), reference(picture(1, 96, 96, 3))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            sample(model, ilvr("euler", ref), sigmas(model))
    (record,) = caplog.records
    assert "96 x 96 pixels and the image 32 x 32" in record.message
    assert "leave reference unconnected" in record.message


def test_a_mask_in_which_nothing_was_painted_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        reference(mask=torch.zeros(1, 64, 64))
    assert "mask is black all over, so that nothing is followed" in caplog.text
    caplog.clear()
    reference(mask=torch.eye(64)[None])
    assert not caplog.records


def test_pictures_of_a_vae_of_videos_are_each_encoded_where_pictures_are_painted():
    vae = ARCHITECTURES["wan"].vae()
    images = picture(3, 64, 64, 3, seed=4)
    ref = reference(images, vae)
    each = torch.cat([vae.encode(one[None]) for one in images])
    kind = comfy.latent_formats.Wan21
    model = gaussian(ModelType.FLOW, latent_format=kind)
    latent = torch.zeros(3, *each.shape[1:])
    got = sample(model, ilvr("euler", ref, low_pass(32.0)), sigmas(model), latent=latent)
    assert off(got, each) < 1e-4 * (1 + each.abs().max())
    video = torch.zeros_like(ref.samples)
    got = sample(model, ilvr("euler", ref, low_pass(32.0)), sigmas(model), latent=video)
    if video.shape[2] > 1:
        assert off(got, ref.samples) < 1e-4 * (1 + each.abs().max())


def video_reference(frames):
    return dataclasses.replace(reference(), samples=noise(1, 3, frames, 32, 32, seed=4))


def test_one_latent_frame_is_held_for_all():
    model, ref = gaussian(), video_reference(1)
    got = sample(model, ilvr("euler", ref), sigmas(model), latent=torch.zeros(1, 3, 4, 32, 32))
    assert off(got, ref.samples.expand(-1, -1, 4, -1, -1)) < 1e-4


@pytest.mark.parametrize("kind, before", [("WAN21_Vace", 1), ("LTXV", 0)])
def test_frames_that_the_graph_added_are_left_alone(kind, before):
    model, ref = gaussian(), video_reference(3)
    model.model.__class__ = type(kind, (type(model.model),), {})
    latent = torch.zeros(1, 3, 4, 32, 32)
    got = sample(model, ilvr("euler", ref), sigmas(model), latent=latent)
    bare = sample(model, "euler", sigmas(model), latent=latent)
    own, added = slice(before, before + 3), 0 if before else 3
    assert off(got[:, :, own], ref.samples) < 1e-4
    assert torch.allclose(got[:, :, added], bare[:, :, added], atol=1e-5)


def test_layers_are_refused_with_the_node_that_adds_them():
    model = gaussian()
    model.model.__class__ = type("QwenImage", (type(model.model),), {})
    with pytest.raises(ValueError, match="EmptyQwenImageLayeredLatentImage"):
        latent = torch.zeros(1, 3, 4, 32, 32)
        sample(model, ilvr("euler", video_reference(1)), sigmas(model), latent=latent)


@pytest.mark.skipif(not hasattr(comfy.latent_formats, "Flux2"), reason="newer hosts have Flux.2")
def test_flux2_is_filtered_on_its_true_grid():
    model = gaussian(ModelType.FLOW, latent_format=comfy.latent_formats.Flux2)
    cells = noise(1, 128, 16, 16, seed=3)
    ref = dataclasses.replace(reference(), samples=cells, compression=16)
    got = sample(model, ilvr("euler", ref, low_pass(16.0)), sigmas(model), latent=0 * cells)
    shuffle, phi = torch.nn.PixelShuffle(2), core.LowPassFilter(2)
    assert off(shuffle(got), shuffle(cells), phi) < 1e-4
    assert off(shuffle(got), shuffle(cells), core.LowPassFilter(1.5)) > 0.1
    white = noise(1, 32, 32, 32, seed=5)
    kept = phi(white).square().mean() / white.square().mean()
    assert 0.2 < kept < 0.3  # a quarter of a white latent, as a factor of 2 should keep
    applied = node("ApplyILVR", model, low_pass(16.0))[0]
    got = sample(applied, "euler", sigmas(model), latent=cells)
    assert off(shuffle(got), shuffle(cells), phi) < 1e-4


@pytest.mark.parametrize("connected", [True, False])
def test_of_a_video_with_sound_the_video_is_followed_and_the_sound_left_alone(connected):
    nest = pytest.importorskip("comfy.nested_tensor", reason="of newer hosts").NestedTensor
    model, ref = gaussian(), video_reference(3)
    video, sound = ref.samples.expand(2, -1, -1, -1, -1), noise(2, 8, 20, seed=6)
    latent, start = nest([video, sound]), nest([noise(2, 3, 3, 32, 32), noise(2, 8, 20, seed=2)])
    options = {"reference": ref} if connected else {}
    guided = node("ApplyILVR", model, low_pass(), **options)[0]
    for steps in (0, 4):
        schedule = sigmas(model)[steps:]
        got, bare = (
            sample(m, "euler", schedule, latent=latent, start=start).unbind()
            for m in (guided, model)
        )
        assert off(got[0], video) < 1e-4 < 0.1 < off(bare[0], video)
        assert torch.equal(got[1], bare[1])


def test_models_that_turn_images_into_images_are_refused_with_noise_too():
    with pytest.raises(ValueError, match="turns one image into another"):
        model = gaussian(ModelType.IMG_TO_IMG)
        sample(model, ilvr(), torch.tensor([1.0, 0.0]))


def test_a_factor_between_two_numbers_can_be_typed():
    factor = nodes.NODE_CLASS_MAPPINGS["LowPassFilter"].INPUT_TYPES()["required"]["factor"][1]
    assert factor["step"] == 0.5


@pytest.mark.parametrize(
    "host, pillow, line",
    [
        ("0.3.40", "10.1", "ILVR needs ComfyUI 0.3.64 or newer and this is 0.3.40: "
         "update ComfyUI."),
        ("0.3.64", "9.5.0", "ILVR needs Pillow 10.1 or newer and 9.5.0 is installed: "
         "pip install -U pillow."),
        ("0.3.64", "10.1.0", None),
        ("0.33.0", "12.0.0.dev1", None),
    ],
)  # fmt: skip
def test_an_old_host_or_pillow_is_one_line(host, pillow, line):
    assert importlib.import_module(PACK).why_not(host, pillow) == line
