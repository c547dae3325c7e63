"""The TAESD layout: what `Autoencoder` computes, keeps and refuses."""

import pytest
import torch

from ilvr.autoencoder import COMPRESSION, Autoencoder


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Autoencoder().requires_grad_(False)
    model.vae_scale.fill_(0.7)
    model.vae_shift.fill_(0.2)
    return model


def test_pictures_become_latents_an_eighth_as_wide_and_come_back(model):
    latents = model.encode(torch.zeros(2, 3, 64, 32))

    assert latents.shape == (2, 4, 64 // COMPRESSION, 32 // COMPRESSION)
    assert model.decode(latents).shape == (2, 3, 64, 32)


def test_scale_and_shift_of_the_latents_undo_each_other(model):
    z = torch.randn(1, 4, 4, 4)
    plain = Autoencoder.of(
        {name: t for name, t in model.state_dict().items() if not name.startswith("vae_")}
    )

    moved = model.decode(z / model.vae_scale + model.vae_shift)

    torch.testing.assert_close(moved, plain.decode(z))


def test_the_number_of_channels_is_read_from_the_weights():
    assert Autoencoder.of(Autoencoder(16).state_dict()).channels == 16


def test_keys_of_other_parts_are_left_aside(model):
    state = model.state_dict() | {"out.2.weight": torch.zeros(1)}

    pictures = torch.rand(1, 3, 16, 16) * 2 - 1

    torch.testing.assert_close(Autoencoder.of(state).encode(pictures), model.encode(pictures))


def test_weights_without_an_autoencoder_are_refused():
    with pytest.raises(ValueError, match=r"hold no taesd_encoder\.14\.weight"):
        Autoencoder.of({"out.2.weight": torch.zeros(1)})


def test_an_incomplete_autoencoder_is_refused(model):
    state = model.state_dict()
    del state["taesd_decoder.1.weight"]

    with pytest.raises(ValueError, match=r"not of the TAESD layout.*taesd_decoder\.1\.weight"):
        Autoencoder.of(state)
