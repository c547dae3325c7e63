"""ILVR around any of the host's samplers.

A sampler hands its own state x to the network. The proxy in between refines x in place, so that
the sampler goes on from the refined state, whatever its update rule. Its noise schedule, its
history and its own noise stay as they are.
"""

import copy
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from comfy.patcher_extension import WrappersMP
from comfy.samplers import KSAMPLER

from ...ilvr import BandPassFilter, ConditioningRange, NoisedReference, Refinement
from ...ilvr.guidance import refuse_the_reference_itself, start_sigma
from .functions import check_sampler, foreign, name_of, no_state
from .latents import Unfolded, folds, frames_a_cell, pixels_a_cell
from .reference import EncodedReference, say_once
from .run import GuidedRun, ModelProxy


@dataclass(frozen=True)
class Guide:
    """One reference and how it is followed: the settings of an ILVR node.

    reference: None follows the latent that is sampled, in each run its own. form: what is refined,
    the "state", the "prediction", or what `on` a sampler can be ("auto"). start: where a run
    begins, at "noise" or where the "reference" has decided all that it will.
    """

    reference: EncodedReference | None
    low_pass: BandPassFilter
    range: ConditioningRange
    form: str = "state"
    strength: float = 1.0
    start: str = "noise"

    def __post_init__(self):
        unknown = NoisedReference(torch.zeros(1, 1, 1, 1))
        self._refinement(unknown, self.low_pass)  # says what can't be followed before a run begins
        if self.reference is not None:
            self._refuse_the_reference_itself(self.reference.cell, self.reference.mask)

    def on(self, sampler: KSAMPLER) -> "Guide":
        """This guide in the form that the sampler takes: "auto" is the state where it has one, and
        the prediction otherwise. Raises ValueError where the state is asked for and has none."""
        stateless = None if self.form == "prediction" else no_state(sampler)
        if stateless and self.form == "state":
            raise ValueError(
                f"{stateless} keeps no state that ILVR could refine; use guide = prediction, or "
                f"another sampler."
            )
        if stateless:
            say_once(
                f"ILVR: {stateless} keeps no state that could be refined; guide auto takes the "
                f"prediction."
            )
        if self.form == "auto":
            weaker = stateless or self.strength < 1
            return replace(self, form="prediction" if weaker else "state")
        return self

    def first_level(self, run: GuidedRun, x, levels) -> int:
        """Which of `levels` a run on states like x may begin at: the highest of all references,
        also of those that this batch does not follow, so that an item made again alone begins where
        it did."""
        if self.start == "noise":
            return 0
        count = 1 if self.reference is None else self.reference.count
        refinement = self.refinement(run, x, range(max(count, len(x))))
        y, low_pass = refinement.reference.image, refinement.low_pass
        if isinstance(low_pass, Unfolded):
            y, low_pass = low_pass.unfolded(y), low_pass.low_pass
        return refinement.start(levels, float(start_sigma(y, low_pass).max()))

    def refinement(self, run: GuidedRun, x, numbers: Sequence[int]) -> Refinement:
        """The core's refinement for states like x (B, C, ..., h, w) of a run, for items of these
        numbers in their batch."""
        latent_format = run.base_model.latent_format
        n, given = folds(latent_format), self.reference
        cell = pixels_a_cell(latent_format) / n if given is None else given.cell
        colours = getattr(latent_format, "colours", None)  # of the pack's own models
        low_pass = self.low_pass.on_cells(cell, frames_a_cell(latent_format), colours)
        if given is None:
            self._refuse_the_reference_itself(cell)
            reference = run.sampled_reference(x)
        else:
            reference = given.fitted(run.base_model, x, numbers, low_pass)
        return self._refinement(reference, low_pass if n == 1 else Unfolded(low_pass, n))

    def _refinement(self, reference, low_pass):
        form = "prediction" if self.form == "auto" else self.form  # which takes what either takes
        return Refinement(reference, low_pass, self.range, form, self.strength)

    def _refuse_the_reference_itself(self, cell, mask=None):
        free = mask is not None or self.range.end > 0 or self.strength < 1
        if cell > 1:
            refuse_the_reference_itself(self.low_pass, cell, free)
        elif self.low_pass.keeps_all and not free:
            logging.warning("ILVR: with factor 1 the result is the reference itself.")


def guided(sampler: KSAMPLER, guide: Guide) -> KSAMPLER:
    """The host's sampler, of its own class, with a guide added; the last added is applied last.

    Raises ValueError for a sampler that has no function to run, or no state to refine.
    """
    check_sampler(sampler)
    guide = guide.on(sampler)
    if guide.form == "state":
        _say_if_foreign(sampler)
    function = sampler.sampler_function
    guides = function.guides if isinstance(function, GuidedFunction) else ()
    base = function.base if isinstance(function, GuidedFunction) else function
    sampler = copy.copy(sampler)
    sampler.sampler_function = GuidedFunction(base, (*guides, guide))
    return sampler


def _say_if_foreign(sampler):
    if name := foreign(sampler):
        say_once(
            f"ILVR: {name} is not one of ComfyUI's own samplers. If it steps from a copy of its "
            f"state, what ILVR refines is lost to it: where colours or layout drift from the "
            f"reference, set guide to prediction."
        )


def apply(model, guide: Guide):
    """A clone of the host's model patcher whose every sampler is guided."""

    def swap(executor, noise, latent_image, sampler, *args, **kwargs):
        return executor(noise, latent_image, guided(sampler, guide), *args, **kwargs)

    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "ilvr", swap)
    return model


class GuidedFunction:
    """A sampler function of the host under guides, with its name and signature.

    It holds nothing of a run.
    """

    def __init__(self, base, guides: tuple[Guide, ...]):
        functools.update_wrapper(self, base)
        self.__name__ = name_of(base)
        self.base, self.guides = base, guides

    def __call__(self, model, x, sigmas, extra_args=None, callback=None, disable=None, **options):
        run = GuidedRun(self.guides, model, x, sigmas, extra_args or {})
        x = self.base(
            ModelProxy(model, run), run.begin(x), sigmas[run.first :].clone(),
            extra_args=extra_args, callback=run.reporting(callback), disable=disable, **options,
        )  # fmt: skip
        run.warn_if_idle()
        return run.finish(x)
