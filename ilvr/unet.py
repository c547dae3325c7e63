"""The ADM U-Net (Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021).

The network of Ho et al. ("Denoising Diffusion Probabilistic Models", 2020) is this one with other
options. Parameters have the names and shapes of guided-diffusion's state dicts.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn


class UNet(nn.Module):
    """Predicts the noise in x_t and, with 2C output channels, the interpolation of its variance.

    configuration: a `Configuration`. `operations` supplies the layer classes (torch.nn, or a
    host's own), each built with `dtype` and `device`. Raises ValueError where heads do not divide
    the channels.
    """

    def __init__(self, configuration, *, operations=nn, dtype=None, device=None):
        super().__init__()
        make = _Layers(configuration, operations, {"dtype": dtype, "device": device})
        self.num_classes, self.dtype = configuration.num_classes, dtype or torch.float32

        self.embed = functools.partial(
            timestep_embedding,
            dim=configuration.model_channels,
            sine_first=configuration.sine_first,
            frequency_shift=configuration.frequency_shift,
        )
        self.time_embed = nn.Sequential(
            make.linear(configuration.model_channels, make.emb_channels),
            nn.SiLU(),
            make.linear(make.emb_channels, make.emb_channels),
        )
        if self.num_classes is not None:
            self.label_emb = make.embedding(self.num_classes, make.emb_channels)

        first, *_ = widths = configuration.widths
        self.input_blocks = nn.ModuleList([Block(make.conv(configuration.in_channels, first))])
        down, skips = _down_blocks(make)
        self.input_blocks.extend(down)
        deepest = widths[-1]
        self.middle_block = Block(
            ResBlock(make, deepest, deepest),
            AttentionBlock(make, deepest),
            ResBlock(make, deepest, deepest),
        )
        self.output_blocks = nn.ModuleList(_up_blocks(make, skips))

        self.out = nn.Sequential(
            make.norm(first),
            nn.SiLU(),
            make.conv(first, configuration.out_channels),
        )

    def forward(self, x, timesteps, y=None):
        """(B, C, H, W), (B,) steps, (B,) class labels -> (B, out_channels, H, W) in x's dtype.

        H and W must be divisible by 2 ** (levels - 1).
        """
        (*skips, h), emb = self.encode(x, timesteps, y)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb)
        return self.out(h).to(x.dtype)

    def encode(self, x, timesteps, y=None):
        """The way down, of what `forward` takes: the outputs (B, C, h, w) of all input blocks and
        of the middle one, and the embedding (B, D) of step and class."""
        emb = self.time_embed(self.embed(timesteps).to(self.dtype))
        if self.num_classes is not None:
            emb = emb + self.label_emb(y)

        h = x.to(self.dtype)
        activations = []
        for block in [*self.input_blocks, self.middle_block]:
            h = block(h, emb)
            activations.append(h)
        return activations, emb


def timestep_embedding(timesteps, dim: int, sine_first: bool = False, frequency_shift: int = 0):
    """(B,) -> (B, dim): cosines, then sines, at dim // 2 frequencies from 1 towards 1 / 10000.

    sine_first: sines, then cosines. frequency_shift: 1 where the last frequency is 1 / 10000
    (Ho et al. 2020), 0 where that would be the next one.
    """
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(-math.log(10000) * (exponents / (half - frequency_shift)))
    angles = timesteps[:, None].float() * frequencies
    waves = [angles.sin(), angles.cos()] if sine_first else [angles.cos(), angles.sin()]
    return F.pad(torch.cat(waves, dim=-1), (0, dim % 2))


class _Layers:
    """Makes the layers of one network: a host's or torch's, of its dtype, on its device."""

    def __init__(self, configuration, operations, layer):
        self.configuration, self.operations, self.layer = configuration, operations, layer
        self.emb_channels = 4 * configuration.model_channels

    def linear(self, channels, out):
        return self.operations.Linear(channels, out, **self.layer)

    def embedding(self, count, channels):
        return self.operations.Embedding(count, channels, **self.layer)

    def conv(self, channels, out, size=3, *, stride=1, padding=1):
        return self.operations.Conv2d(
            channels, out, size, stride=stride, padding=padding, **self.layer
        )

    def pointwise(self, channels, out):
        """On sequences (B, C, T)."""
        return self.operations.Conv1d(channels, out, 1, **self.layer)

    def norm(self, channels):
        groups, eps = self.configuration.norm_groups, self.configuration.norm_eps
        if channels % groups:
            raise ValueError(f"{channels} channels do not divide into {groups} groups of norm")
        return self.operations.GroupNorm(groups, channels, eps=eps, **self.layer)


def _down_blocks(make):
    """(the input blocks after the first, from the top level down; the widths of all outputs)."""
    configuration = make.configuration
    blocks, skips = [], [configuration.widths[0]]
    for level, width in enumerate(configuration.widths):
        for _ in range(configuration.num_res_blocks):
            layers = [ResBlock(make, skips[-1], width)]
            if 2**level in configuration.attention_rates:
                layers.append(AttentionBlock(make, width))
            blocks.append(Block(*layers))
            skips.append(width)

        if level < len(configuration.widths) - 1:
            blocks.append(Block(_halving(make, width)))
            skips.append(width)
    return blocks, skips


def _up_blocks(make, skips):
    """The output blocks, from the deepest level up; each takes one skip, the last one first."""
    configuration = make.configuration
    blocks, channels = [], configuration.widths[-1]
    for level, width in reversed(list(enumerate(configuration.widths))):
        for i in range(configuration.num_res_blocks + 1):
            layers = [ResBlock(make, channels + skips.pop(), width)]
            if 2**level in configuration.attention_rates:
                layers.append(AttentionBlock(make, width))
            if level and i == configuration.num_res_blocks:
                layers.append(_doubling(make, width))
            blocks.append(Block(*layers))
            channels = width
    return blocks


def _halving(make, width):
    if make.configuration.resblock_updown:
        return ResBlock(make, width, width, downsample)
    return Downsample(make, width)


def _doubling(make, width):
    if make.configuration.resblock_updown:
        return ResBlock(make, width, width, upsample)
    return Upsample(make, width)


class Block(nn.Sequential):
    def forward(self, x, emb):
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class ResBlock(nn.Module):
    """resample: `upsample` or `downsample`, on both paths, or nothing."""

    def __init__(self, make, channels, out, resample=None):
        super().__init__()
        self.scale_shift_norm = make.configuration.use_scale_shift_norm
        self.resample = resample or nn.Identity()

        self.in_layers = nn.Sequential(make.norm(channels), nn.SiLU(), make.conv(channels, out))
        emb_out = 2 * out if self.scale_shift_norm else out
        self.emb_layers = nn.Sequential(nn.SiLU(), make.linear(make.emb_channels, emb_out))
        dropout = nn.Identity()  # here in guided-diffusion, whose names have its index
        self.out_layers = nn.Sequential(make.norm(out), nn.SiLU(), dropout, make.conv(out, out))

        skip = nn.Identity() if out == channels else make.conv(channels, out, 1, padding=0)
        self.skip_connection = skip

    def forward(self, x, emb):
        norm, act, conv = self.in_layers
        h = conv(self.resample(act(norm(x))))
        emb = self.emb_layers(emb)[:, :, None, None]
        norm, *rest = self.out_layers
        if self.scale_shift_norm:
            scale, shift = emb.chunk(2, dim=1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + emb)
        for layer in rest:
            h = layer(h)
        return self.skip_connection(self.resample(x)) + h


class AttentionBlock(nn.Module):
    """The order of qkv: new splits it before the heads, else the heads are split first."""

    def __init__(self, make, channels):
        super().__init__()
        self.heads = make.configuration.heads(channels)
        self.new_order = make.configuration.use_new_attention_order
        if not self.heads or channels % self.heads:
            raise ValueError(f"{channels} channels do not divide into heads of equal size")
        self.norm = make.norm(channels)
        self.qkv = make.pointwise(channels, 3 * channels)
        self.proj_out = make.pointwise(channels, channels)

    def forward(self, x):
        b, c, height, width = x.shape
        qkv = self.qkv(self.norm(x).reshape(b, c, -1))  # B 3C T
        if self.new_order:
            q, k, v = qkv.reshape(b, 3, self.heads, c // self.heads, -1).unbind(1)
        else:
            q, k, v = qkv.reshape(b, self.heads, 3, c // self.heads, -1).unbind(2)
        q, k, v = (part.transpose(-1, -2) for part in (q, k, v))  # B heads T C/heads
        h = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(b, c, -1)
        return x + self.proj_out(h).reshape(b, c, height, width)


class Downsample(nn.Module):
    def __init__(self, make, channels):
        super().__init__()
        self.asymmetric = make.configuration.asymmetric_downsample
        padding = 0 if self.asymmetric else 1
        self.op = make.conv(channels, channels, stride=2, padding=padding)

    def forward(self, x):
        return self.op(F.pad(x, (0, 1, 0, 1)) if self.asymmetric else x)


class Upsample(nn.Module):
    def __init__(self, make, channels):
        super().__init__()
        self.conv = make.conv(channels, channels)

    def forward(self, x):
        return self.conv(upsample(x))


def upsample(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downsample(x):
    return F.avg_pool2d(x, 2)
