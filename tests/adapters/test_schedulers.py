"""The level that a scheduler's next step enters, against the scheduler's own steps."""

import diffusers
import pytest
import torch

import ilvr
from ilvr.adapters.diffusers import schedulers
from ilvr.schedule import CLEAN

EXACT = [  # steps that keep signal * clean + noise * eps where the network knows eps
    ("DDIMScheduler", {}),
    ("CogVideoXDDIMScheduler", {"snr_shift_scale": 3.0}),
    ("DDIMScheduler", {"timestep_spacing": "trailing", "num_train_timesteps": 600}),
    ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}),
    ("PNDMScheduler", {}),
    ("EulerDiscreteScheduler", {}),
    ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    ("HeunDiscreteScheduler", {}),
    ("LMSDiscreteScheduler", {}),
    ("DEISMultistepScheduler", {}),
    ("DPMSolverMultistepScheduler", {}),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    (
        "DPMSolverMultistepScheduler",
        {"prediction_type": "flow_prediction", "use_flow_sigmas": True},
    ),
    ("DPMSolverSinglestepScheduler", {"lower_order_final": True}),
    ("UniPCMultistepScheduler", {"disable_corrector": list(range(1000))}),
    ("EDMEulerScheduler", {}),
    ("EDMDPMSolverMultistepScheduler", {}),
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    ("FlowMatchHeunDiscreteScheduler", {}),
]
STOCHASTIC = [  # of which the noise has the right mean and deviation
    ("DDPMScheduler", {}),
    ("DDIMScheduler", {"eta": 1.0}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("LCMScheduler", {}),
    ("TCDScheduler", {}),
    ("FlowMatchLCMScheduler", {}),
]
PLANNED = ("DPMSolverSinglestepScheduler", "PNDMScheduler")


def made(kind, settings):
    eta = {"eta": settings["eta"]} if "eta" in settings else {}
    rest = {name: value for name, value in settings.items() if name != "eta"}
    return getattr(diffusers, kind)(**rest), eta


def output(scheduler, x, entering, clean, eps):
    """What a network says that knows what it was made of."""
    if hasattr(scheduler, "precondition_outputs"):
        data = scheduler.config.sigma_data
        total = (entering.sigma**2 + data**2) ** 0.5
        return (clean - x * (data / total) ** 2) * total / (entering.sigma * data)
    return eps - clean if "flow" in kind_of(scheduler) else eps


def kind_of(scheduler):
    flow = hasattr(scheduler, "scale_noise") or getattr(scheduler.config, "use_flow_sigmas", False)
    return "flow" if flow else "noise"


def run(scheduler, eta, below=False):
    """(level, the noise in the state that enters it) after every step on one known picture.

    below: from the level of the reference, of sigma 1.01, not from noise.
    """
    draws = torch.Generator().manual_seed(0)
    clean, eps = 0.3, torch.randn(1, 4, 64, 64, generator=draws)
    scheduler.set_timesteps(12 if below else 6)
    if below:
        picture = ilvr.NoisedReference(torch.full_like(eps, clean))
        begun = schedulers.begin(scheduler, ilvr.Refinement(picture, ilvr.LowPassFilter(4)))
        assert begun == schedulers.level(scheduler, 0) and begun.sigma >= 1.01
        assert schedulers.level(scheduler, scheduler.order).sigma < 1.01
    entering = schedulers.level(scheduler, 0)
    x = entering.signal * clean + entering.noise * eps
    first = schedulers.first_position(scheduler, scheduler.timesteps[0])
    for i, timestep in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(x, timestep)
        seen = (x - entering.signal * clean) / entering.noise
        told = output(scheduler, x, entering, clean, seen)
        more = eta if hasattr(scheduler, "precondition_outputs") else {**eta, "generator": draws}
        takes = scheduler.step.__code__.co_varnames
        more = {name: value for name, value in more.items() if name in takes}
        x = scheduler.step(told, timestep, x, **more, return_dict=False)[0]
        position = schedulers.next_position(scheduler, first, i)
        entering = schedulers.level(scheduler, position)
        if entering is not CLEAN:
            yield entering, (x - entering.signal * clean) / entering.noise, eps
    assert position == len(scheduler.timesteps) and entering is CLEAN
    assert (x - clean).abs().max() < 0.15  # some end a little above no noise


@pytest.mark.parametrize("kind, settings", EXACT)
def test_a_state_holds_the_signal_and_the_noise_of_its_level(kind, settings):
    scheduler, eta = made(kind, settings)
    schedulers.check(scheduler)
    levels = []
    for level, found, eps in run(scheduler, eta):
        assert (found - eps).abs().max() < 0.01
        levels.append(level.t)
    assert len(levels) >= 5 and levels == sorted(levels, reverse=True)
    assert 1000 > levels[0] > 500 and 400 > levels[-1] >= 0


@pytest.mark.parametrize("kind, settings", [one for one in EXACT if one[0] not in PLANNED])
def test_so_it_does_from_the_level_of_the_reference(kind, settings):
    scheduler, eta = made(kind, settings)
    schedulers.check_begin(scheduler)
    levels = []
    for level, found, eps in run(scheduler, eta, below=True):
        assert (found - eps).abs().max() < 0.01
        levels.append(level.t)
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize("kind", PLANNED)
def test_a_scheduler_whose_steps_are_planned_starts_from_noise_alone(kind):
    with pytest.raises(ValueError, match=f"{kind} plans its steps from pure noise"):
        schedulers.check_begin(getattr(diffusers, kind)())


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("kind, settings", STOCHASTIC)
def test_a_state_with_new_noise_holds_as_much_as_its_level(kind, settings, below):
    scheduler, eta = made(kind, settings)
    schedulers.check(scheduler)
    found = list(run(scheduler, eta, below))
    assert len(found) >= (2 if below else 5)
    for _, noise, _ in found:
        assert abs(float(noise.mean())) < 0.03 and abs(float(noise.std()) - 1) < 0.03


@pytest.mark.parametrize("kind", ["UniPCMultistepScheduler", "SASolverScheduler"])
def test_a_scheduler_that_corrects_old_states_is_refused(kind):
    with pytest.raises(ValueError, match=f"{kind} corrects each state.*DPMSolverMultistep"):
        schedulers.check(getattr(diffusers, kind)())


@pytest.mark.parametrize(
    "kind", ["KDPM2DiscreteScheduler", "IPNDMScheduler", "CMStochasticIterativeScheduler"]
)
def test_a_scheduler_that_is_not_known_is_refused(kind):
    with pytest.raises(ValueError, match=f"{kind} is not known to follow"):
        schedulers.check(getattr(diffusers, kind)())


def test_a_scheduler_that_others_derive_is_known_by_its_base():
    class Own(diffusers.DDIMScheduler):
        pass

    schedulers.check(Own())


def test_what_is_said_to_replace_unipc_does():
    wan = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    scheduler = diffusers.DPMSolverMultistepScheduler.from_config(wan.config)
    schedulers.check(scheduler)
    for _, found, eps in run(scheduler, {}):
        assert (found - eps).abs().max() < 0.01
