"""Tiny ADM models whose weights anybody can make again, in any framework."""

import zlib

import numpy as np
import torch

from ilvr import Configuration, DiffusionModel
from ilvr.autoencoder import COMPRESSION, Autoencoder

# Ends of the names of their scales, in every layout.
NORMS = (".0.weight", "norm.weight", "norm1.weight", "norm2.weight", "norm_out.weight")


def weights(shapes):
    """A state dict of {name: shape}: RandomState(crc32(name)) normals, scaled by the fan-in."""
    return {name: _weight(name, shape) for name, shape in shapes.items()}


def _weight(name, shape):
    values = np.random.RandomState(zlib.crc32(name.encode())).randn(*shape)
    if len(shape) == 1:  # biases, and the scales of norms
        values = 0.1 * values + name.endswith(NORMS)
    else:
        values = values / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values).float()


def state_dict(configuration):
    network = configuration.network(device="meta")
    return weights({name: tuple(value.shape) for name, value in network.state_dict().items()})


def _tiny(channels, mult, blocks, rates, **rest):
    return Configuration(channels, mult, blocks, rates, image_size=16, **rest)


_CONV = {"resblock_updown": False, "num_head_channels": None}
CONFIGURATIONS = {
    "unconditional": _tiny(32, (1, 2, 2), 1, (2, 4), num_head_channels=16),
    "conditional_new_order": _tiny(
        32, (1, 2), 2, (1, 2), num_classes=7, num_head_channels=16, use_new_attention_order=True
    ),
    "conditional_heads": _tiny(
        32, (1, 1, 2), 1, (4,), num_classes=5, num_head_channels=None, num_heads=4
    ),
    "no_scale_shift": _tiny(32, (1, 2), 1, (2,), use_scale_shift_norm=False, **_CONV),
    "conv_resampling": _tiny(32, (1, 2, 2), 2, (2,), num_heads=4, **_CONV),
    "half_width": _tiny(64, (0.5, 1, 1), 1, (4,), num_head_channels=32),
    "fixed_variance": _tiny(32, (1, 2), 1, (1,), learn_sigma=False, num_head_channels=32),
}
LATENT = Configuration(  # pictures of 64x64
    32, (1, 2), 1, (2,), in_channels=4, learn_sigma=False, image_size=8, num_head_channels=32,
    norm_groups=16, prediction="v", compression=COMPRESSION,
)  # fmt: skip


def model(configuration):
    network = configuration.network()
    network.load_state_dict(state_dict(configuration))
    network.eval().requires_grad_(False)
    return DiffusionModel(network, configuration, autoencoder(configuration))


def autoencoder(configuration):
    """That of a latent model, whose latents are of about unit variance; else None."""
    if configuration.compression == 1:
        return None
    shapes = {name: tuple(t.shape) for name, t in Autoencoder().state_dict().items() if t.ndim}
    return Autoencoder.of(weights(shapes)).requires_grad_(False)
