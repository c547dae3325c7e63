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

    `attention` holds the downsampling rates (1, 2, 4, ...) at which attention is used. Its heads
    are given by `num_head_channels` or, where that is None, by `num_heads`. `new_attention_order`
    splits qkv before the heads, else the heads are split first. `sine_first` and `frequency_shift`
    are those of `timestep_embedding`. `asymmetric_downsample` pads strided convolutions at the
    right and the bottom only. `operations` supplies the layer classes (torch.nn, or a host's own),
    each built with `dtype` and `device`.
    """

    def __init__(
        self,
        *,
        model_channels: int,
        channel_mult: tuple[float, ...],
        num_res_blocks: int,
        attention: tuple[int, ...],
        in_channels: int = 3,
        out_channels: int = 6,
        num_classes: int | None = None,
        num_heads: int = 1,
        num_head_channels: int | None = None,
        new_attention_order: bool = False,
        scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        norm_groups: int = 32,
        norm_eps: float = 1e-5,
        sine_first: bool = False,
        frequency_shift: int = 0,
        asymmetric_downsample: bool = False,
        dropout: float = 0.0,
        operations=nn,
        dtype: torch.dtype | None = None,
        device=None,
    ):
        super().__init__()
        layer = {"dtype": dtype, "device": device}
        norm = functools.partial(operations.GroupNorm, norm_groups, eps=norm_eps, **layer)
        widths = [round(mult * model_channels) for mult in channel_mult]
        emb_channels = 4 * model_channels
        self.embed = functools.partial(
            timestep_embedding,
            dim=model_channels,
            sine_first=sine_first,
            frequency_shift=frequency_shift,
        )
        self.dtype = dtype or torch.float32
        self.time_embed = nn.Sequential(
            operations.Linear(model_channels, emb_channels, **layer),
            nn.SiLU(),
            operations.Linear(emb_channels, emb_channels, **layer),
        )
        if num_classes is not None:
            self.label_emb = operations.Embedding(num_classes, emb_channels, **layer)
        self.num_classes = num_classes

        def res(channels, out, resample=None):
            return ResBlock(
                channels,
                out,
                emb_channels,
                scale_shift_norm,
                resample,
                dropout,
                norm,
                operations,
                layer,
            )

        def attend(channels):
            heads = channels // num_head_channels if num_head_channels else num_heads
            if not heads or channels % heads:
                raise ValueError(f"{channels} channels do not divide into heads of equal size")
            return [AttentionBlock(channels, heads, new_attention_order, norm, operations, layer)]

        def down(channels):
            if resblock_updown:
                return res(channels, channels, "down")
            return Downsample(channels, asymmetric_downsample, operations, layer)

        def up(channels):
            if resblock_updown:
                return res(channels, channels, "up")
            return Upsample(channels, operations, layer)

        channels = widths[0]
        first = operations.Conv2d(in_channels, channels, 3, padding=1, **layer)
        self.input_blocks = nn.ModuleList([Block(first)])
        skips = [channels]
        for level, width in enumerate(widths):
            for _ in range(num_res_blocks):
                attention_here = attend(width) if 2**level in attention else []
                self.input_blocks.append(Block(res(channels, width), *attention_here))
                channels = width
                skips.append(channels)
            if level < len(widths) - 1:
                self.input_blocks.append(Block(down(channels)))
                skips.append(channels)

        self.middle_block = Block(
            res(channels, channels), *attend(channels), res(channels, channels)
        )

        self.output_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for i in range(num_res_blocks + 1):
                layers = [res(channels + skips.pop(), width)]
                channels = width
                if 2**level in attention:
                    layers += attend(channels)
                if level and i == num_res_blocks:
                    layers.append(up(channels))
                self.output_blocks.append(Block(*layers))

        self.out = nn.Sequential(
            norm(channels),
            nn.SiLU(),
            operations.Conv2d(channels, out_channels, 3, padding=1, **layer),
        )

    def forward(self, x, timesteps, y=None):
        """(B, C, H, W), (B,) steps, (B,) class labels -> (B, out_channels, H, W) in x's dtype.

        H and W must be divisible by 2 ** (levels - 1).
        """
        emb = self.time_embed(self.embed(timesteps).to(self.dtype))
        if self.num_classes is not None:
            emb = emb + self.label_emb(y)
        h = x.to(self.dtype)
        skips = []
        for block in self.input_blocks:
            h = block(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb)
        return self.out(h).to(x.dtype)


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


class Block(nn.Sequential):
    def forward(self, x, emb):
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class ResBlock(nn.Module):
    def __init__(
        self,
        channels,
        out,
        emb_channels,
        scale_shift_norm,
        resample,
        dropout,
        norm,
        operations,
        layer,
    ):
        super().__init__()
        self.scale_shift_norm = scale_shift_norm
        self.resample = {"up": upsample, "down": downsample, None: nn.Identity()}[resample]
        self.in_layers = nn.Sequential(
            norm(channels),
            nn.SiLU(),
            operations.Conv2d(channels, out, 3, padding=1, **layer),
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(),
            operations.Linear(emb_channels, 2 * out if scale_shift_norm else out, **layer),
        )
        self.out_layers = nn.Sequential(
            norm(out),
            nn.SiLU(),
            nn.Dropout(dropout),
            operations.Conv2d(out, out, 3, padding=1, **layer),
        )
        self.skip_connection = (
            nn.Identity() if out == channels else operations.Conv2d(channels, out, 1, **layer)
        )

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
    def __init__(self, channels, heads, new_order, norm, operations, layer):
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = norm(channels)
        self.qkv = operations.Conv1d(channels, 3 * channels, 1, **layer)
        self.proj_out = operations.Conv1d(channels, channels, 1, **layer)

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
    def __init__(self, channels, asymmetric, operations, layer):
        super().__init__()
        self.asymmetric = asymmetric
        padding = 0 if asymmetric else 1
        self.op = operations.Conv2d(channels, channels, 3, stride=2, padding=padding, **layer)

    def forward(self, x):
        return self.op(F.pad(x, (0, 1, 0, 1)) if self.asymmetric else x)


class Upsample(nn.Module):
    def __init__(self, channels, operations, layer):
        super().__init__()
        self.conv = operations.Conv2d(channels, channels, 3, padding=1, **layer)

    def forward(self, x):
        return self.conv(upsample(x))


def upsample(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downsample(x):
    return F.avg_pool2d(x, 2)
