"""The core's autoencoder beside the host's own class for TAESD."""

import importlib

import pytest
import torch
from comfy.taesd.taesd import TAESD

from .host import core

Autoencoder = importlib.import_module(f"{core.__name__}.autoencoder").Autoencoder


@pytest.mark.parametrize("channels", [4, 16])
def test_both_give_the_same_latents_and_pictures_from_the_same_weights(channels):
    torch.manual_seed(0)
    ours = Autoencoder(channels).requires_grad_(False)
    ours.vae_scale.fill_(0.7)
    ours.vae_shift.fill_(0.2)
    theirs = TAESD(latent_channels=channels).requires_grad_(False)
    theirs.load_state_dict(ours.state_dict())
    pictures = torch.rand(2, 3, 32, 48) * 2 - 1
    latents = theirs.encode(pictures)

    torch.testing.assert_close(ours.encode(pictures), latents)
    torch.testing.assert_close(ours.decode(latents), theirs.decode(latents))


def test_weights_of_the_host_fit():
    theirs = TAESD(latent_channels=4).requires_grad_(False)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.02)

    ours = Autoencoder.of(theirs.state_dict())

    assert ours.state_dict().keys() == theirs.state_dict().keys()
