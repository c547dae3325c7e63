"""DDPMSampler with the models and schedules that other people's graphs give it."""

import importlib

import pytest
import torch

from .host import PACK, ModelType, gaussian, node, sample, sigmas

ddpm = importlib.import_module(f"{PACK}.nodes.host.ddpm")


def test_a_flow_model_is_refused():
    model = gaussian(ModelType.FLOW)
    with pytest.raises(ValueError, match="whose noise is added to the picture"):
        sample(model, node("DDPMSampler", "auto")[0], sigmas(model))


def test_levels_with_one_nearest_timestep_have_noise_of_their_own():
    sampling = gaussian().get_model_object("model_sampling")
    table = sampling.sigmas
    falling = torch.cat([table[[900, 500]] * 1.001, table[[500, 100, 0]], torch.zeros(1)])
    kept = [level.t for level in ddpm._schedule(falling, sampling).levels]
    assert kept[:3] == [1.0, 101.0, 501.0]
    assert 501 < kept[3] < 502 < 901 < kept[4] < 902
