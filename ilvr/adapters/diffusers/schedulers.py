"""How a scheduler of diffusers noises a picture: the level that its next step enters."""

import copy
import math

import torch

from ...guidance import Refinement
from ...schedule import CLEAN, Level

FOLLOW = (  # those whose every state that enters the network is one of this level, and is kept
    "CogVideoXDDIM", "DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep",
    "DPMSolverMultistep", "DPMSolverSinglestep", "EDMDPMSolverMultistep", "EDMEuler",
    "EulerAncestralDiscrete", "EulerDiscrete", "FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete",
    "FlowMatchLCM", "HeunDiscrete", "LCM", "LMSDiscrete", "PNDM", "TCD",
)  # fmt: skip
PLANNED = ("DPMSolverSinglestep", "PNDM")  # whose steps go by how many were taken before
COUNTED = ("LCM", "TCD")  # which know their last step by its number
CORRECT = ("SASolver", "UniPCMultistep")  # recompute each state from the one before
DPM = "DPMSolverMultistepScheduler"


def check(scheduler):
    """Raises ValueError for a scheduler that does not follow a reference exactly."""
    name, kinds = type(scheduler).__name__, _kinds(scheduler)
    if kinds & set(CORRECT) and not _uncorrected(scheduler):
        raise ValueError(
            f"{name} corrects each state from the one before it, which loses what was refined; "
            f"use {DPM}.from_config(pipe.scheduler.config), which takes as few steps."
        )
    if not kinds & {*FOLLOW, *CORRECT}:
        raise ValueError(
            f"{name} is not known to follow a reference exactly; use {DPM}, or "
            f"FlowMatchEulerDiscreteScheduler where the model is a flow."
        )


def _kinds(scheduler):
    return {kind.__name__.removesuffix("Scheduler") for kind in type(scheduler).__mro__}


def _uncorrected(scheduler):
    steps = scheduler.num_inference_steps or scheduler.config.num_train_timesteps
    return set(range(steps)) <= set(getattr(scheduler.config, "disable_corrector", ()))


def first_position(scheduler, timestep) -> int:
    """Where in `scheduler.timesteps` a run that begins at this timestep stands."""
    return int((scheduler.timesteps == timestep).nonzero()[0])


def next_position(scheduler, first: int, index: int) -> int:
    """Where in `scheduler.timesteps` a run stands after its step `index`, from 0.

    first: where it began, for schedulers that do not count their steps.
    """
    counted = getattr(scheduler, "step_index", None)
    return first + index + 1 if counted is None else counted


def level(scheduler, position: int) -> Level:
    """The level of the state that enters the step at this position; clean behind the last step.

    Its signal and its noise are what the scheduler's own noising makes of ones and of zeros.
    """
    if position >= len(scheduler.timesteps):
        return CLEAN
    one, zero = torch.ones(1), torch.zeros(1)
    signal = _noised(scheduler, one, zero, position)
    noise = _noised(scheduler, zero, one, position)
    return Level(_paper_timestep(scheduler, position, noise), signal, noise)


def check_begin(scheduler):
    """Raises ValueError for a scheduler that cannot begin below pure noise either."""
    check(scheduler)
    if _kinds(scheduler) & set(PLANNED):
        raise ValueError(
            f"{type(scheduler).__name__} plans its steps from pure noise on, so that it cannot "
            f"start from a reference; use {DPM}, or start from noise."
        )


def begin(scheduler, refinement: Refinement) -> Level | None:
    """Drops the steps above the level that a run may start from, and gives that level; None where
    it is the first of all."""
    places = range(0, len(scheduler.timesteps), scheduler.order)
    levels = [level(scheduler, place) for place in places]
    first = refinement.start(levels)
    for name in {"timesteps", "sigmas"} & set(vars(scheduler)):
        setattr(scheduler, name, getattr(scheduler, name)[places[first] :])
    if _kinds(scheduler) & set(COUNTED):
        scheduler.num_inference_steps = len(scheduler.timesteps)
    return levels[first] if first else None


def _noised(scheduler, clean, eps, position) -> float:
    at = copy.copy(scheduler)
    if hasattr(at, "_begin_index"):  # by its place: a timestep may stand for two sigmas
        at._begin_index, at._step_index = 0, position
    timestep = at.timesteps[position : position + 1].cpu()
    if hasattr(at, "scale_noise"):
        return float(at.scale_noise(clean, timestep, eps))
    return float(at.add_noise(clean, eps, timestep))


def _paper_timestep(scheduler, position, sigma) -> float:
    """1000 = pure noise: 1000 times a flow's sigma, else the index in training, counted from 1."""
    config = scheduler.config
    if "sigma_data" in config:  # of EDM, whose timesteps are made for its network
        low, high = math.log(config.sigma_min), math.log(config.sigma_max)
        return 1000 * max(0.0, (math.log(sigma) - low) / (high - low))
    flow = hasattr(scheduler, "scale_noise") or getattr(config, "use_flow_sigmas", False)
    timestep = float(scheduler.timesteps[position])
    return (timestep + (0 if flow else 1)) * 1000 / config.num_train_timesteps
