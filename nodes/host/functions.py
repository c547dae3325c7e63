"""Which functions a SAMPLER is made of, and whether their state can be refined."""

import functools
import types
from collections.abc import Iterator

from comfy.samplers import KSAMPLER

# Functions that work on a copy of the state, restart from an older one, or leave the schedule.
NO_STATE = {
    "sample_unipc": "uni_pc",
    "sample_unipc_bh2": "uni_pc_bh2",
    "sample_sa_solver": "sa_solver",
    "sample_sa_solver_pece": "sa_solver_pece",
    "sample_dpm_fast": "dpm_fast",
    "dpm_fast_function": "dpm_fast",
    "sample_dpm_adaptive": "dpm_adaptive",
    "dpm_adaptive_function": "dpm_adaptive",
    "sample_ar_video": "ar_video",
}
OWN = ("comfy.", "comfy_extras.", __name__.rpartition(".nodes.")[0] + ".")


def check_sampler(sampler):
    """Raises ValueError for a sampler that has no function which ILVR could stand around."""
    function = getattr(sampler, "sampler_function", None)
    if not isinstance(sampler, KSAMPLER) or function is None or _keeps_its_steps(type(sampler)):
        raise ValueError(
            f"A {type(sampler).__name__} runs its steps by itself, so that ILVR can't refine "
            f"between them; use a sampler such as KSamplerSelect gives."
        )


def no_state(sampler) -> str | None:
    """The name of a function within the sampler whose state can't be refined."""
    names = (NO_STATE.get(name_of(function)) for function in functions(sampler))
    return next(filter(None, names), None)


def foreign(sampler) -> str | None:
    """The name of the sampler's function where neither it nor one within is the host's or ours."""
    found = list(functions(sampler))
    modules = [getattr(function, "__module__", None) or "" for function in found]
    if any(f"{module}.".startswith(OWN) for module in modules):
        return None
    return name_of(found[0])


def name_of(function) -> str:
    """Its own name, or that of what it stands around."""
    named = (getattr(inner, "__name__", None) for inner in functions(function))
    return next(filter(None, named), type(function).__name__)


def functions(sampler) -> Iterator:
    """The sampler's function and those within it: of partials, decorators and closures, and of
    samplers that it was given as options, as nodes do that wrap a sampler."""
    waiting, seen = [sampler], set()
    while waiting:
        item = waiting.pop(0)
        if id(item) in seen or isinstance(item, type):
            continue
        seen.add(id(item))
        if hasattr(item, "sampler_function"):
            waiting += [item.sampler_function, *getattr(item, "extra_options", {}).values()]
        elif isinstance(item, functools.partial):
            yield item
            waiting += [item.func, *item.args, *item.keywords.values()]
        elif isinstance(item, types.MethodType):
            waiting += [item.__func__, item.__self__]
        elif callable(item):
            yield item
            waiting += _within(item)


def _within(function):
    cells = getattr(function, "__closure__", None) or ()
    held = [cell.cell_contents for cell in cells if _is_filled(cell)]
    return [getattr(function, "__wrapped__", None), *held]


def _is_filled(cell):
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _keeps_its_steps(kind):
    """Whether a KSAMPLER's own `sample` neither runs its function nor leaves that to KSAMPLER."""
    for parent in kind.__mro__[: kind.__mro__.index(KSAMPLER)]:
        if sample := vars(parent).get("sample"):
            names = getattr(sample, "__code__", None)
            return names is not None and not {"super", "sampler_function"} & {*names.co_names}
    return False
