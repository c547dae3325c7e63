"""Real model classes of the host at tiny sizes, with random weights: those that people use."""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass

import comfy.ldm.chroma_radiance.model
import comfy.ldm.flux.model
import comfy.ldm.wan.vae
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import torch
import torch.nn.functional as F

from .host import noise, picture, pixel_vae, random_weights, tiny_vae

CPU = torch.device("cpu")
GAIN = 0.3  # of the last layer, so that random answers stay smaller than the noise


@dataclass(frozen=True)
class Architecture:
    """How to build a model and the VAE of its latents, and what its prompts look like."""

    config: Callable
    network: dict
    last_layer: str
    vae: Callable
    context: int
    pooled: int | None = None
    tokens: tuple[int, int] = (6, 6)  # of the positive and of the negative prompt
    masked: bool = False  # whether prompts say which tokens count
    batch: int = 2
    frames: int = 1
    size: tuple[int, int] = (64, 96)
    factors: tuple[int, int] = (16, 40)

    def model(self):
        config = self.config(dict(self.network))
        config.set_inference_dtype(torch.float32, None)
        model = config.get_model({}, device=CPU).eval()
        weights = random_weights(model.diffusion_model.state_dict())
        weights[self.last_layer] *= GAIN
        model.diffusion_model.load_state_dict(weights)
        return comfy.model_patcher.ModelPatcher(model, CPU, CPU)

    def picture(self, seed=0):
        """Soft patches of colour with some grain."""
        coarse = picture(self.frames, 3, self.size[0] // 16, self.size[1] // 16, seed=seed)
        soft = F.interpolate(coarse, self.size, mode="bicubic").movedim(1, -1)
        return (0.9 * soft + 0.1 * picture(*soft.shape, seed=seed)).clamp(0, 1)

    def prompts(self):
        """Two prompts of different content, as a text encoder gives them."""
        return [self._prompt(tokens, seed) for seed, tokens in enumerate(self.tokens, 11)]

    def _prompt(self, tokens, seed):
        extras = {}
        if self.pooled:
            extras["pooled_output"] = noise(1, self.pooled, seed=seed)
        if self.masked:
            extras["attention_mask"] = torch.ones(1, tokens, dtype=torch.long)
        return [[noise(1, tokens, self.context, seed=seed), extras]]


def _known(settings, function):
    """Those settings that this host's network has: newer ones have more."""
    names = inspect.signature(function).parameters
    names = {*names, "image_model"}
    return {name: value for name, value in settings.items() if name in names}


def video_vae():
    """The host's VAE of Wan's latents, with a network of 8 channels where the real one has 96."""
    layout = {"dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True]}
    network = comfy.ldm.wan.vae.WanVAE(dim=8, z_dim=16, num_res_blocks=1, **layout).eval()
    network.load_state_dict(random_weights(network.state_dict()))
    vae = comfy.sd.VAE(sd={name: torch.zeros(shape) for name, shape in WAN_VAE.items()})
    vae.first_stage_model = network
    vae.patcher = comfy.model_patcher.ModelPatcher(network, CPU, CPU)
    return vae


WAN_VAE = {  # what the host recognises the file by
    "decoder.middle.0.residual.0.gamma": (384, 1, 1, 1),
    "decoder.head.0.gamma": (96, 1, 1, 1),
    "decoder.head.2.weight": (3, 96, 3, 3, 3),
    "encoder.conv1.weight": (96, 3, 3, 3, 3),
}
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "use_spatial_transformer": True,
    "transformer_depth_middle": 1,
    "legacy": False,
    "use_temporal_attention": False,
}
SD15 = Architecture(
    comfy.supported_models.SD15,
    UNET
    | {
        "model_channels": 32,
        "transformer_depth": [1, 1],
        "transformer_depth_output": [1, 1, 1, 1],
        "context_dim": 48,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
    },
    "out.2.weight",
    tiny_vae,
    context=48,
)
SDXL = Architecture(
    comfy.supported_models.SDXL,
    UNET
    | {
        "model_channels": 64,
        "transformer_depth": [0, 1],
        "transformer_depth_output": [0, 0, 1, 1],
        "context_dim": 64,
        "use_linear_in_transformer": True,
        "num_classes": "sequential",
        "adm_in_channels": 2816,  # 1280 of the pooled prompt, 6 x 256 of the sizes
    },
    "out.2.weight",
    tiny_vae,
    context=64,
    pooled=1280,
)
SD3 = Architecture(
    comfy.supported_models.SD3,
    {
        "in_channels": 16,
        "out_channels": 16,
        "patch_size": 2,
        "depth": 2,
        "input_size": None,
        "adm_in_channels": 64,
        "context_embedder_config": {
            "target": "torch.nn.Linear",
            "params": {"in_features": 96, "out_features": 128},
        },
        "num_patches": 256,
        "pos_embed_max_size": 16,
        "pos_embed_scaling_factor": None,
        "qk_norm": "rms",
        "x_block_self_attn_layers": [0],  # as in SD 3.5 medium
    },
    "final_layer.linear.weight",
    lambda: tiny_vae(16),
    context=96,
    pooled=64,
)
TRANSFORMER = {
    "context_in_dim": 48,
    "hidden_size": 64,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 2,
    "depth_single_blocks": 2,
    "axes_dim": [8, 12, 12],
    "theta": 10000,
    "qkv_bias": True,
    "txt_ids_dims": [],
}
FLUX = Architecture(
    comfy.supported_models.Flux,
    _known(
        TRANSFORMER
        | {
            "image_model": "flux",
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": 2,
            "vec_in_dim": 32,
            "guidance_embed": True,
        },
        comfy.ldm.flux.model.FluxParams,
    ),
    "final_layer.linear.weight",
    lambda: tiny_vae(16),
    context=48,
    pooled=32,
    tokens=(6, 9),
)
WAN = Architecture(
    comfy.supported_models.WAN21_T2V,
    {
        "image_model": "wan2.1",
        "model_type": "t2v",
        "dim": 48,
        "num_heads": 2,
        "ffn_dim": 96,
        "num_layers": 2,
        "text_dim": 40,
        "in_dim": 16,
        "out_dim": 16,
    },
    "head.head.weight",
    video_vae,
    context=40,
    batch=1,
    frames=5,
)
LTX_VAE = {
    "dims": 3,
    "latent_channels": 128,
    "blocks": [["compress_all", 1]] * 3,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
}


def ltx_vae():
    """The host's VAE of LTX's latents, without the blocks between its halvings."""
    name = "decoder.up_blocks.0.res_blocks.0.conv1.conv.weight"  # which the host recognises it by
    vae = comfy.sd.VAE(
        sd={name: torch.zeros(512, 1, 1, 1, 1)}, metadata={"config": json.dumps({"vae": LTX_VAE})}
    )
    network = vae.first_stage_model
    weights = random_weights(network.state_dict())
    weights["per_channel_statistics.std-of-means"] += 1
    network.load_state_dict(weights)
    return vae


LTX = Architecture(
    comfy.supported_models.LTXV,
    {
        "image_model": "ltxv",
        "cross_attention_dim": 48,
        "attention_head_dim": 24,
        "num_attention_heads": 2,
        "caption_channels": 40,
        "num_layers": 2,
    },
    "proj_out.weight",
    ltx_vae,
    context=40,
    masked=True,
    batch=1,
    frames=9,
    size=(192, 256),
    factors=(64, 90),
)
RADIANCE = Architecture(
    comfy.supported_models.ChromaRadiance,
    _known(
        TRANSFORMER
        | {
            "image_model": "chroma_radiance",
            "in_channels": 3,
            "out_channels": 3,
            "patch_size": 8,
            "in_dim": 64,
            "out_dim": 64,
            "hidden_dim": 64,
            "n_layers": 2,
            "vec_in_dim": None,
            "nerf_hidden_size": 16,
            "nerf_mlp_ratio": 2,
            "nerf_depth": 2,
            "nerf_max_freqs": 4,
            "nerf_tile_size": 16,
            "nerf_final_head_type": "conv",
            "nerf_embedder_dtype": torch.float32,
            "use_x0": False,
            "use_sequential_txt_ids": False,
        },
        comfy.ldm.chroma_radiance.model.ChromaRadianceParams,
    ),
    "nerf_final_layer_conv.conv.weight",
    pixel_vae,
    context=48,
    pooled=32,  # unused by the network, asked for by the older host
    size=(48, 64),
    factors=(4, 16),
)
ARCHITECTURES = {
    "sd15": SD15,
    "sdxl": SDXL,
    "sd3": SD3,
    "flux": FLUX,
    "wan": WAN,
    "ltx": LTX,
    "radiance": RADIANCE,
}
