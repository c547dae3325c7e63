"""Every family that the host itself knows: followed to float precision, refused, or named here.

Each is the host's own configuration, latent format, noise levels and model class; only the network
and what prompts it takes are stood in for.
"""

import importlib

import comfy.latent_formats
import comfy.model_base
import comfy.model_patcher
import comfy.supported_models
import pytest
import torch

from .host import PACK, core, low_pass, node, noise, sample

# Families without a picture or video to follow, and what is said of them.
SOUND, IMAGES = "no picture or video", "turns one image into another"
REFUSED = {
    "ACEStep15": SOUND,
    "Hunyuan3Dv2": SOUND,
    "Hunyuan3Dv2_1": SOUND,
    "Hunyuan3Dv2mini": SOUND,
    "LotusD": IMAGES,
    "MiniMaxMusic3": SOUND,
    "WAN21_FlowRVS": IMAGES,
}
NOT_WALKED = {
    "HunyuanImage21Refiner": "its latents have another shape in the network than in the graph",
    "Stable_Zero123": "it is built from weights of its own; it is SD15 with a picture more",
    "StableAudio": "it is built from weights of its own; a latent of sound",
    "StableAudio1": "it is built from weights of its own; a latent of sound",
    "StableAudio3": "it is built from weights of its own; a latent of sound",
}
if not hasattr(comfy.latent_formats.LatentFormat, "spacial_downscale_ratio"):
    NOT_WALKED |= dict.fromkeys(["Stable_Cascade_B", "Stable_Cascade_C"], "needs weights")
LAYOUT = {"in_channels": 4, "hidden_size": 3072}  # where a family reads it from its network
FACTOR = 168.0  # pixels: more than a cell of any
FAMILIES = {kind.__name__: kind for kind in comfy.supported_models.models}


class Answer(torch.nn.Module):
    """A network that answers 0 to whatever it is asked."""

    dtype = torch.float32

    def forward(self, x, *args, **kwargs):
        return 0 * x


def family(name):
    """The host's model of a family, without its network."""
    kind = FAMILIES[name]
    config = kind({**LAYOUT, **kind.unet_config, "disable_unet_model_creation": True})
    config.unet_config["dtype"] = torch.float32
    model = config.get_model({}, "")
    model.diffusion_model = Answer()
    model.extra_conds = lambda **kwargs: {}
    model.concat_cond = lambda **kwargs: None
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, cpu, cpu)


def latents(model):
    """A latent of the family, large enough for two cells of the filter."""
    shape = model.model.latent_format
    more = {1: (64,), 2: (8, 8), 3: (3, 8, 8)}[shape.latent_dimensions]
    return noise(1, shape.latent_channels, *more, seed=3).clamp(-1, 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_follows_its_reference_or_says_why_not(name):
    if name in NOT_WALKED:
        pytest.skip(NOT_WALKED[name])
    model = family(name)
    latent = latents(model)
    sampling = model.get_model_object("model_sampling")
    top = float(sampling.percent_to_sigma(0.0))
    top = min(top, float(sampling.sigma_max))
    schedule = torch.tensor([top, 0.6 * top, 0.3 * top, 0.1 * top, 0.0])
    low = low_pass(FACTOR)
    guided = node("ApplyILVR", model, low)[0]
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            sample(guided, "euler", schedule, latent=latent)
        return
    got = sample(guided, "euler", schedule, latent=latent)
    bare = sample(model, "euler", schedule, latent=latent)
    assert off(model, got, latent) < 1e-5 * (1 + float(got.abs().max()))
    assert off(model, bare, latent) > 1e-3


def off(model, got, latent):
    """How far the low frequencies are, on the true grid."""
    ours = importlib.import_module(f"{PACK}.nodes.host.latents")
    latent_format = model.model.latent_format
    n = ours.folds(latent_format)
    phi = core.LowPassFilter(FACTOR * n / ours.pixels_a_cell(latent_format))
    got, latent = (torch.nn.functional.pixel_shuffle(x, n) if n > 1 else x for x in (got, latent))
    return float((phi(got) - phi(latent)).abs().max())
