"""A latent model of the pack's own kind in the host: its MODEL, CONDITIONING and VAE, against the
core, and under the host's nodes of latents."""

import dataclasses
import importlib

import comfy.model_base
import comfy.samplers
import folder_paths
import latent_preview
import pytest
import torch

import nodes

from .host import PACK, SEED, core, ilvr, low_pass, node, noise, picture, sample, sigmas

checkpoint = importlib.import_module(f"{PACK}.ilvr.checkpoint")
Autoencoder = importlib.import_module(f"{PACK}.ilvr.autoencoder").Autoencoder
ADM = folder_paths.get_folder_paths("adm")[0]
LATENT = checkpoint.Configuration(  # pictures of 128x128
    32, (1, 2), 1, (2,), in_channels=4, learn_sigma=False, image_size=16, num_head_channels=16,
    prediction="v", compression=8,
)  # fmt: skip


def weights(shapes):
    return {
        name: noise(1, *value.shape, seed=i)[0] / max(1, value[0].numel()) ** 0.5
        if value.ndim > 1
        else 0.1 * noise(1, *value.shape, seed=i)[0]
        for i, (name, value) in enumerate(shapes.items())
    }


@pytest.fixture(scope="module")
def loaded():
    """(MODEL, CONDITIONING, VAE) of a file in models/adm, and the core's model of it."""
    network = weights(LATENT.network(device="meta").state_dict())
    shapes = Autoencoder().state_dict()
    parts = {n: w for n, w in weights(shapes).items() if not n.startswith("vae_")}
    path = f"{ADM}/latent.safetensors"
    checkpoint.save(network, LATENT, path, Autoencoder.of(parts))
    return *node("LoadUnconditionalModel", "latent.safetensors"), checkpoint.load(path)


def test_predictions_of_v_are_the_cores(loaded):
    model, _, _, own = loaded
    assert model.model.model_type == comfy.model_base.ModelType.V_PREDICTION
    x, denoiser = noise(2, 4, 16, 16), own.denoiser()
    table = model.get_model_object("model_sampling").sigmas
    largest = 0
    for level, sigma in list(zip(own.schedule.levels, table))[::120]:
        state = x * torch.sqrt(1 + sigma**2)
        x0 = model.model.apply_model(state, sigma.expand(2))
        wanted = state - level.sigma * denoiser(state * level.signal, level.t)
        assert (x0 - wanted).abs().max() < 1e-3
        largest = max(largest, x0.abs().max())
    assert largest > 1  # nothing is clamped


def test_its_vae_is_the_cores_autoencoder(loaded):
    *_, vae, own = loaded
    image = picture(2, 64, 96, 3)
    latents = node_of_host("VAEEncode", vae, image)["samples"]
    wanted = own.encode(image.movedim(-1, 1) * 2 - 1)
    assert latents.shape == (2, 4, 8, 12)
    assert (latents - wanted).abs().max() < 1e-3
    decoded = (own.decode(wanted).movedim(1, -1) + 1) / 2
    assert (
        node_of_host("VAEDecode", vae, {"samples": wanted}) - decoded.clamp(0, 1)
    ).abs().max() < 1e-3


def node_of_host(name, *args, **options):
    made = nodes.NODE_CLASS_MAPPINGS[name]()
    return getattr(made, made.FUNCTION)(*args, **options)[0]


def test_in_tiles_it_is_nearly_the_whole(loaded):
    *_, vae, _ = loaded
    image = picture(1, 128, 128, 3)
    whole = node_of_host("VAEEncode", vae, image)
    tiled = node_of_host("VAEEncodeTiled", vae, image, 64, 16)
    assert_near(tiled["samples"], whole["samples"])
    assert_near(
        node_of_host("VAEDecodeTiled", vae, whole, 64, 16), node_of_host("VAEDecode", vae, whole)
    )


def assert_near(x, y):
    assert x.shape == y.shape
    assert (x - y).abs().mean() < 0.2 * y.std()


def test_images_follow_a_reference_in_latents(loaded):
    model, _, vae, own = loaded
    image = picture(1, 128, 128, 3)
    ref, latent = node("NoisedReference", image, vae, "fresh", 2)
    assert latent["samples"].shape == (2, 4, 16, 16)

    out = sample(model, ilvr("euler", ref, low_pass(32.0)), sigmas(model, 4), latent["samples"])

    phi = core.LowPassFilter(4)
    y = own.encode(image.movedim(-1, 1) * 2 - 1)
    assert (phi(out) - phi(y)).abs().max() < 1e-3
    assert (out - y).abs().max() > 0.1
    with pytest.raises(ValueError, match="no more than the 8 pixels of a latent cell"):
        ilvr("euler", ref, low_pass(8.0))


def test_the_hosts_nodes_of_latents_work_on_it(loaded):
    model, condition, vae, _ = loaded
    latent = node_of_host("EmptyLatentImage", 128, 128, 1)
    options = {"seed": SEED, "steps": 2, "cfg": 1.0, "sampler_name": "dpmpp_2m"}
    options |= {"scheduler": "karras", "positive": condition, "negative": condition}
    made = node_of_host("KSampler", model, latent_image=latent, denoise=1.0, **options)
    assert made["samples"].shape == (1, 4, 16, 16)

    larger = node_of_host("LatentUpscale", made, "bislerp", 160, 128, "disabled")
    mask = torch.zeros(1, 128, 160)
    mask[..., 80:] = 1
    masked = node_of_host("SetLatentNoiseMask", larger, mask)
    painted = node_of_host("KSampler", model, latent_image=masked, denoise=0.6, **options)
    change = (painted["samples"] - larger["samples"]).abs()
    assert change[..., :9].max() < 1e-4 and change[..., 11:].max() > 0.1
    assert node_of_host("VAEDecode", vae, painted).shape == (1, 128, 160, 3)


def test_ddpm_sampler_is_the_cores(loaded):
    model, _, _, own = loaded
    schedule = node("RespacedScheduler", model, "5")[0]
    sampler = node("DDPMSampler", "auto")[0]
    latent = torch.zeros(1, 4, 16, 16)
    start = core.ItemNoise([SEED]).draw("start", 1000, latent)
    out = sample(model, sampler, schedule, latent, start, seed=SEED)
    *_, last = core.steps(own, [SEED], sampler="ddpm", steps=5)
    assert (out - last.x).abs().max() < 0.05 * last.x.abs().max()


def test_previews_have_about_the_colours_of_the_picture(loaded):
    model, _, _, own = loaded
    latent_format = model.model.latent_format
    factors, bias = latent_format.latent_rgb_factors, latent_format.latent_rgb_factors_bias
    shown = latent_preview.Latent2RGBPreviewer(factors, bias)
    z = noise(1, 4, 1, 1).expand(-1, -1, 4, 4)
    colour = torch.tensor(list(shown.decode_latent_to_preview(z).getpixel((0, 0)))) / 127.5 - 1
    wanted = own.decode(z).clamp(-1, 1).mean((0, 2, 3))
    assert (colour - wanted).abs().max() < 0.35


def test_says_what_does_not_fit(loaded):
    model, _, _, _ = loaded
    with pytest.raises(ValueError, match="width and height divide by 16; 136 x 128 does not"):
        sample(model, "euler", sigmas(model, 2), torch.zeros(1, 4, 16, 17))


def test_a_class_conditional_latent_model_needs_its_class():
    configuration = dataclasses.replace(LATENT, num_classes=3)
    parts = {n: w for n, w in weights(Autoencoder().state_dict()).items() if "vae_" not in n}
    network = weights(configuration.network(device="meta").state_dict())
    checkpoint.save(network, configuration, f"{ADM}/classes.safetensors", Autoencoder.of(parts))
    with pytest.raises(ValueError, match="classes 0 to 2"):
        node("LoadUnconditionalModel", "classes.safetensors")
    _, condition, _ = node("LoadUnconditionalModel", "classes.safetensors", 2)
    assert condition[0][1] == {"class_label": 2}
