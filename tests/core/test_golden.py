"""Against outputs of the original code; tests/data/README.md says how they were made."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ilvr import LowPassFilter, NoisedReference, Refinement, ddpm
from ilvr.checkpoint import recognise

from .tiny import CONFIGURATIONS, model, state_dict

DATA = Path(__file__).parents[1] / "data"


class RecordedNoise:
    """The noise that the original code drew, in its order."""

    def __init__(self, data):
        self.streams = {name: list(data[name]) for name in ("sampler", "reference") if name in data}

    def draw(self, stream, t, like):
        return torch.from_numpy(self.streams[stream].pop(0))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_network_equals_guided_diffusion(name):
    data = np.load(DATA / "guided_diffusion_forward.npz")
    configuration = CONFIGURATIONS[name]
    network = model(configuration).network
    keys = [f"{key} {' '.join(map(str, v.shape))}" for key, v in network.state_dict().items()]
    assert sorted(keys) == sorted(data[f"{name}/keys"].tolist())
    y = torch.tensor([1, 4]) if configuration.num_classes else None
    output = network(torch.from_numpy(data[f"{name}/x"]), torch.tensor([3.0, 871.0]), y)
    assert (output - torch.from_numpy(data[f"{name}/output"])).abs().max() < 1e-5


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_layout_is_read_from_guided_diffusions_keys(name):
    wanted = CONFIGURATIONS[name]
    heads = ("image_size", "num_heads", "num_head_channels", "use_new_attention_order")
    known = {key: getattr(wanted, key) for key in heads}
    assert recognise(state_dict(wanted), known).configuration == wanted


@pytest.mark.parametrize("file", ["guided_diffusion_ddpm", "ilvr_adm_ilvr"])
def test_trajectory_equals_the_originals(file):
    data = np.load(DATA / f"{file}.npz")
    refinement = None
    if "reference_image" in data:
        reference = NoisedReference(torch.from_numpy(data["reference_image"]))
        refinement = Refinement(reference, LowPassFilter(4, exact=False), released=True)
    tiny = model(CONFIGURATIONS["unconditional"])
    steps = ddpm(
        tiny.denoiser(),
        torch.from_numpy(data["start"]),
        tiny.schedule.respaced("10"),
        RecordedNoise(data),
        refinement,
    )
    states = [step.x for step in steps]
    assert len(states) == len(data["trajectory"]) == 10
    for state, original in zip(states, data["trajectory"]):
        assert (state - torch.from_numpy(original)).abs().max() < 1e-4
