"""Noise of each item of a batch, by its own seed."""

import reprlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .kinds import whole
from .values import printable, tensor

SEED = whole(0, 2**128)
STREAMS = ("start", "sampler", "reference", "mask")


class ItemNoise:
    """Standard normal noise that depends on (seed, stream, timestep) of each item alone.

    seeds: one integer >= 0 an item. The same level gives the same noise, an item's noise does not
    depend on its batch or device, and the global generator is never touched. Raises ValueError for
    seeds that are none, or no list of them.
    """

    def __init__(self, seeds: Sequence[int]):
        listed = isinstance(seeds, Sequence | np.ndarray) and not isinstance(seeds, str | bytes)
        self.seeds = list(seeds) if listed else []
        if not self.seeds or not all(map(SEED.fits, self.seeds)):
            given = printable(reprlib.repr(seeds))
            raise ValueError(
                f"seeds = {given}, which does not fit: {SEED.words} is needed an item."
            )

    def draw(self, stream: str, t: float, like: Tensor) -> Tensor:
        """(B, ...) fp32 noise of `like`'s shape and device; stream: one of STREAMS."""
        like = tensor(like, "What noise is drawn for", axes=1)
        if stream not in STREAMS:
            raise ValueError(f"Unknown stream {stream!r}: choose {', '.join(STREAMS)}.")
        if len(self.seeds) != len(like):
            raise ValueError(f"{len(self.seeds)} seeds were given for a batch of {len(like)}.")
        key = (STREAMS.index(stream), round(t * 1000))
        items = [_normal((seed, *key), like.shape[1:]) for seed in self.seeds]
        return torch.stack(items).to(like.device)


def _normal(key, shape):
    seed = int(np.random.SeedSequence(tuple(map(int, key))).generate_state(1, np.uint64)[0])
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
