"""ILVR around the samplers of azula, which is no requirement of the tests: pip install azula."""

import pytest
import torch

from ilvr import ConditioningRange, ItemNoise, LowPassFilter, NoisedReference, Refinement

sampling = pytest.importorskip("azula.sample", reason="azula is not installed")

from azula.denoise import Denoiser, DiracPosterior  # noqa: E402
from azula.noise import CosineSchedule  # noqa: E402

from ilvr.adapters.azula import Refined  # noqa: E402

LOW_PASS = LowPassFilter(4)
SAMPLERS = ["DDPMSampler", "DDIMSampler", "EulerSampler", "ItoSampler"]


class Seen(Denoiser):
    """The posterior mean of a picture of normal pixels; keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.schedule, self.states = CosineSchedule(), []

    def forward(self, x_t, t, **kwargs):
        self.states.append((float(t), x_t.clone()))
        alpha, sigma = self.schedule(t)
        return DiracPosterior(mean=alpha * x_t / (alpha**2 + sigma**2))


def run(name, y, **settings):
    denoiser = Seen()
    sampler = getattr(sampling, name)(denoiser, steps=6, silent=True)
    refined = Refined(sampler, Refinement(NoisedReference(y), LOW_PASS, **settings), seed=3)
    torch.manual_seed(0)
    return denoiser, refined(refined.init(y.shape))


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_enters_the_network_follows(name):
    y = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    denoiser, finished = run(name, y)
    assert len(denoiser.states) == 6
    for t, x in denoiser.states[1:]:
        alpha, sigma = denoiser.schedule(torch.tensor(t))
        y_t = alpha * y + sigma * ItemNoise([3, 4]).draw("reference", 1000 * t, y)
        assert LOW_PASS(x - y_t).abs().max() < 1e-4
    assert LOW_PASS(finished - y).abs().max() < 1e-5
    assert (finished - y).abs().max() > 0.1


def test_a_range_is_kept():
    y = torch.zeros(1, 3, 16, 16)
    _, finished = run("DDIMSampler", y, range=ConditioningRange(1000, 500))
    assert LOW_PASS(finished).abs().max() > 0.01


@pytest.mark.parametrize("name", ["HeunSampler", "zABSampler"])
def test_samplers_without_states_and_other_guides_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} calls the network on states"):
        run(name, torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="guide is 'prediction'"):
        run("DDIMSampler", torch.zeros(1, 3, 16, 16), guide="prediction")
