"""How a project names the layers of the U-Net: a `Layout`, and the making of its parts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

PLACES = 100  # of layers, in any list of a network
State = dict[str, Tensor]
Parts = dict[str, tuple[str, ...]]  # from guided-diffusion's name of a layer to another project's


@dataclass(frozen=True)
class Layout:
    """How a project names the layers of the U-Net.

    parts: guided-diffusion's name of each layer and the project's own, which are three where it
    keeps query, key and value apart. values: what its code fixes, and usual: what it mostly has,
    both named as in `Configuration`.
    """

    name: str
    values: Mapping
    usual: Mapping = field(default_factory=dict)
    parts: Parts = field(default_factory=dict)

    def translate(self, state: Mapping[str, Tensor]) -> State:
        """The state dict in guided-diffusion's names; what is unknown keeps its own."""
        left, result = dict(state), {}
        for part in self.parts:
            for kind in ("weight", "bias"):
                names = self.own(f"{part}.{kind}")
                if all(name in left for name in names):
                    result[f"{part}.{kind}"] = _joined(part, [left.pop(name) for name in names])
        return result | left

    def adapt(self, state: State, heads: Callable[[int], int]) -> State:
        """What was translated with weights that mean the same in `UNet`.

        heads: how many the attention over that many channels has.
        """
        return state

    def own(self, name: str) -> list[str]:
        """What the layout calls a parameter of guided-diffusion."""
        part, _, kind = name.rpartition(".")
        return [f"{own}.{kind}" for own in self.parts[part]] if part in self.parts else [name]


def _joined(part, tensors):
    if len({tensor.shape[1:] for tensor in tensors}) > 1 or any(not t.ndim for t in tensors):
        raise ValueError(f"{part} is made of tensors that do not fit each other; it is damaged.")
    joined = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
    if part.endswith((".qkv", ".proj_out")) and joined.ndim > 1:
        return joined.flatten(1)[..., None]  # a linear layer or 1 x 1 convolution, as Conv1d
    return joined


def by_levels(state, names, residual, attention, full_size_first=False) -> Parts:
    """The way down and up where a block is a level: of what the project's `names` call so.

    full_size_first: on the way up too, where else the deepest level is the first.
    """
    down, up, block, attn = (names[part] for part in ("down", "up", "block", "attn"))
    levels = count(state, rf"{down}\.(\d+)\.")
    per_level = count(state, rf"{down}\.\d+\.{block}\.(\d+)\.")
    parts: Parts = {}

    for level in range(levels):
        own, first = f"{down}.{level}", 1 + level * (per_level + 1)
        for i in range(per_level):
            part = f"input_blocks.{first + i}"
            parts |= within(f"{part}.0", f"{own}.{block}.{i}", residual)
            parts |= within(f"{part}.1", f"{own}.{attn}.{i}", attention)
        last = f"input_blocks.{first + per_level}.0"
        parts |= within(last, f"{own}.{names['downsample']}", residual | {"op": ("conv",)})

    for place in range(levels):
        own, first = (
            f"{up}.{levels - 1 - place if full_size_first else place}",
            place * (per_level + 1),
        )
        for i in range(per_level + 1):
            part = f"output_blocks.{first + i}"
            parts |= within(f"{part}.0", f"{own}.{block}.{i}", residual)
            parts |= within(f"{part}.1", f"{own}.{attn}.{i}", attention)
        last = f"{part}.{2 if has(state, f'{own}.{attn}.') else 1}"
        parts |= within(last, f"{own}.{names['upsample']}", residual | {"conv": ("conv",)})
    return parts


def within(adm, own, names) -> Parts:
    return {
        f"{adm}.{part}": tuple(f"{own}.{name}" for name in others) for part, others in names.items()
    }


def count(state, pattern):
    """How many numbers there are from 0 to the greatest that the pattern finds in the names."""
    return 1 + max(numbers(state, pattern), default=-1)


def numbers(state, pattern) -> set[int]:
    """Those below `PLACES` that the pattern finds in the names."""
    found = (re.match(pattern, name) for name in state)
    places = {match[1] for match in found if match and len(match[1]) <= len(str(PLACES))}
    return {int(place) for place in places if int(place) < PLACES}


def has(state, prefix):
    return any(name.startswith(prefix) for name in state)
