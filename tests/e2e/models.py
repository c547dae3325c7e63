"""Models for a host's folders: of the real architectures, tiny, with random weights."""

from pathlib import Path

from safetensors.torch import save_file

from ilvr import checkpoint
from tests.core import tiny

SMALL, LATENT_VAE = "small.safetensors", "taesd.safetensors"


def write_small_model(models: Path):
    """An ADM of 16 x 16 pixels, for LoadUnconditionalModel."""
    configuration = tiny.CONFIGURATIONS["unconditional"]
    checkpoint.save(tiny.state_dict(configuration), configuration, models / "adm" / SMALL)


def write_latent_vae(models: Path):
    """A TAESD of 4 channels and 8 pixels a cell, for VAELoader; it can encode only."""
    shapes = {f"taesd_encoder.{layer}.weight": shape for layer, shape in _encoder().items()}
    shapes["taesd_decoder.1.weight"] = (64, 4, 3, 3)  # by this the host knows its kind
    weights = tiny.weights(shapes)
    for layer, (channels, *_) in _encoder().items():
        if layer not in HALVING:
            weights[f"taesd_encoder.{layer}.bias"] = tiny.weights({layer: (channels,)})[layer]
    save_file(weights, models / "vae" / LATENT_VAE)


HALVING = ("2", "6", "10")


def _encoder():
    """Weights of the encoder's convolutions: {layer: (out, in, 3, 3)}."""
    blocks = (1, 3, 4, 5, 7, 8, 9, 11, 12, 13)
    inner = [f"{block}.conv.{i}" for block in blocks for i in (0, 2, 4)]
    layers = dict.fromkeys([*inner, *HALVING], (64, 64, 3, 3))
    return {"0": (64, 3, 3, 3), **layers, "14": (4, 64, 3, 3)}
