"""The layouts that the U-Net is published in, and what other kinds of weights look like.

The network of Ho et al. (2020) is the ADM U-Net with other options, so that diffusers' UNet2DModel
and the models of rosinality/denoising-diffusion-pytorch and pesser/pytorch_diffusion differ from
guided-diffusion's by the names of their parts, and hardly by their weights.
"""

import re
import reprlib
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from ..values import printable
from .names import Layout, Parts, State, by_levels, count, has, within

PROBE = "time_embed.0.weight"  # in guided-diffusion's layout
LORA, VAE, CONTROLNET = "a LoRA", "a VAE", "a ControlNet"
LATENT = "a latent diffusion model such as Stable Diffusion"
TEXT = "a text-conditional model"
OTHER_KINDS = {  # and what a key of theirs looks like
    LORA: r"lora_|\.lora",
    LATENT: r"transformer_blocks|first_stage_model|cond_stage_model|context_embedder",
    TEXT: r"add_k_proj|encoder_hid_proj",
    VAE: r"^(taesd_)?(encoder|decoder)\.",
}


class OtherKind(ValueError):
    """A file that holds a model of another `kind`: a word of `OTHER_KINDS`, or another.

    name: what the model calls itself, if it does, whatever a file has there.
    """

    def __init__(self, path, kind: str, name=None):
        name = printable(name if isinstance(name, str) else reprlib.repr(name))[:80] if name else ""
        super().__init__(
            f"{path} is {kind}{f' ({name})' if name else ''}; the U-Net of an unconditional or "
            f"class-conditional diffusion model of pixels is needed."
        )
        self.kind = kind


class Rosinality(Layout):
    """Of rosinality's model, whose attention divides by the root of all channels, not of a head's,
    and whose norms have no weights where time scales and shifts."""

    def translate(self, state: Mapping[str, Tensor]) -> State:
        result = super().translate(state)
        result.pop("time.0.inv_freq", None)
        for name in list(result):
            if name.endswith(".emb_layers.1.bias"):
                _add_norm(result, name.removesuffix(".emb_layers.1.bias"))
        return result

    def adapt(self, state: State, heads: Callable[[int], int]) -> State:
        for name, weight in state.items():
            if ".qkv." in name:
                state[name] = _with_smaller_queries(weight, heads(len(weight) // 3))
        return state


def layout_of(state: Mapping[str, Tensor]) -> Layout:
    """The layout of a state dict, of which it has the probe."""
    return next(make(state) for probe, make in PROBES.items() if probe in state)


def probes(state: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """(prefix, probe) of each U-Net that a state dict holds behind a prefix."""
    for name in state:
        for probe in PROBES:
            if name.endswith(probe):
                yield name.removesuffix(probe), probe


def other_kind(state: Mapping[str, Tensor]) -> str | None:
    """What a state dict is instead of a U-Net, a word of `OTHER_KINDS` or another; else None."""
    for kind, pattern in OTHER_KINDS.items():
        if any(re.search(pattern, name) for name in state):
            return kind
    found = {probe for _, probe in probes(state)}
    if not found:
        return "no diffusion model of a known kind"
    if PROBE in found and not any("output_blocks." in name for name in state):
        return "a classifier"
    return None


def _add_norm(state, block):
    bias = state.get(f"{block}.out_layers.3.bias")
    if bias is not None and state[f"{block}.emb_layers.1.bias"].numel() == 2 * bias.numel():
        state.setdefault(f"{block}.out_layers.0.weight", torch.ones_like(bias))
        state.setdefault(f"{block}.out_layers.0.bias", torch.zeros_like(bias))


def _with_smaller_queries(qkv, heads):
    if heads == 1:
        return qkv
    split = qkv.reshape(heads, 3, -1).clone()
    split[:, 0] *= heads**-0.5
    return split.reshape(qkv.shape)


ADM = {  # what guided-diffusion's code fixes
    "norm_groups": 32,
    "norm_eps": 1e-5,
    "sine_first": False,
    "frequency_shift": 0,
    "asymmetric_downsample": False,
    "beta_range": None,
    "prediction": "eps",
    "compression": 1,
}

RESIDUAL: Parts = {  # what diffusers and rosinality call the same
    "in_layers.0": ("norm1",),
    "in_layers.2": ("conv1",),
    "out_layers.0": ("norm2",),
    "out_layers.3": ("conv2",),
}


def _adm(state) -> Layout:
    return Layout("guided-diffusion", ADM)


def _diffusers(state) -> Layout:
    """Of UNet2DModel, where a block is a level; its attention was renamed in version 0.15."""
    old = any(name.endswith(".query.weight") for name in state)
    residual = RESIDUAL | {
        "emb_layers.1": ("time_emb_proj",),
        "skip_connection": ("conv_shortcut",),
    }
    attention = {
        "norm": ("group_norm",),
        "qkv": ("query", "key", "value") if old else ("to_q", "to_k", "to_v"),
        "proj_out": ("proj_attn",) if old else ("to_out.0",),
    }
    parts: Parts = {
        "time_embed.0": ("time_embedding.linear_1",),
        "time_embed.2": ("time_embedding.linear_2",),
        "label_emb": ("class_embedding",),
        "input_blocks.0.0": ("conv_in",),
        **within("middle_block.0", "mid_block.resnets.0", residual),
        **within("middle_block.1", "mid_block.attentions.0", attention),
        **within("middle_block.2", "mid_block.resnets.1", residual),
        "out.0": ("conv_norm_out",),
        "out.2": ("conv_out",),
    }
    names = {
        "down": "down_blocks", "up": "up_blocks", "block": "resnets", "attn": "attentions",
        "downsample": "downsamplers.0", "upsample": "upsamplers.0",
    }  # fmt: skip
    parts |= by_levels(state, names, residual, attention)
    values = {"use_new_attention_order": True, "rescale_timesteps": False, "compression": 1}
    usual = {"num_head_channels": 8, "sigma_small": True}
    return Layout("diffusers", values, usual, parts)


def _pesser(state) -> Layout:
    """Of pesser/pytorch_diffusion and of DDIM's own code (Song et al. 2021), after Ho et al.'s:
    a block is a level, upwards too, where 0 is the full size."""
    residual = RESIDUAL | {"emb_layers.1": ("temb_proj",), "skip_connection": ("nin_shortcut",)}
    attention = {"norm": ("norm",), "qkv": ("q", "k", "v"), "proj_out": ("proj_out",)}
    parts: Parts = {
        "time_embed.0": ("temb.dense.0",),
        "time_embed.2": ("temb.dense.1",),
        "input_blocks.0.0": ("conv_in",),
        **within("middle_block.0", "mid.block_1", residual),
        **within("middle_block.1", "mid.attn_1", attention),
        **within("middle_block.2", "mid.block_2", residual),
        "out.0": ("norm_out",),
        "out.2": ("conv_out",),
    }
    names = {name: name for name in ("down", "up", "block", "attn", "downsample", "upsample")}
    parts |= by_levels(state, names, residual, attention, full_size_first=True)
    values = ADM | {
        "norm_eps": 1e-6,
        "sine_first": True,
        "frequency_shift": 1,
        "asymmetric_downsample": True,
        "use_new_attention_order": True,
        "rescale_timesteps": False,
    }
    usual = {"num_heads": 1, "num_head_channels": None, "sigma_small": True}
    return Layout("pesser/pytorch_diffusion", values, usual, parts)


def _rosinality(state) -> Layout:
    """Of rosinality's UNet, where a block is a layer, and a strided convolution or an upsampling
    is a block of its own."""
    residual = RESIDUAL | {"emb_layers.1": ("time.1",), "skip_connection": ("skip",)}
    attention = {"norm": ("norm",), "qkv": ("qkv",), "proj_out": ("out",)}
    parts: Parts = {
        "time_embed.0": ("time.1",),
        "time_embed.2": ("time.3",),
        "input_blocks.0.0": ("down.0",),
        **within("middle_block.0", "mid.0.resblocks", residual),
        **within("middle_block.1", "mid.0.attention", attention),
        **within("middle_block.2", "mid.1.resblocks", residual),
    }
    for i in range(1, count(state, r"down\.(\d+)\.")):
        parts |= within(f"input_blocks.{i}.0", f"down.{i}.resblocks", residual)
        parts |= within(f"input_blocks.{i}.1", f"down.{i}.attention", attention)
        parts[f"input_blocks.{i}.0.op"] = (f"down.{i}.0",)
    block, up = "", 0
    for i in range(count(state, r"up\.(\d+)\.")):
        if has(state, f"up.{i}.resblocks."):
            block, up = f"output_blocks.{up}", up + 1
            attended = has(state, f"up.{i}.attention.")
            parts |= within(f"{block}.0", f"up.{i}.resblocks", residual)
            parts |= within(f"{block}.1", f"up.{i}.attention", attention)
        elif block:
            parts[f"{block}.{2 if attended else 1}.conv"] = (f"up.{i}.1",)
    values = ADM | {
        "sine_first": True,
        "use_new_attention_order": False,
        "rescale_timesteps": False,
    }
    one_head = {"num_heads": 1, "num_head_channels": None, "sigma_small": True}
    return Rosinality("rosinality/denoising-diffusion-pytorch", values, one_head, parts)


PROBES = {  # a parameter that every state dict of a layout has, behind its prefix
    PROBE: _adm,
    "time_embedding.linear_1.weight": _diffusers,
    "time.3.weight": _rosinality,
    "temb.dense.0.weight": _pesser,
}
