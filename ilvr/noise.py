"""Noise of each item of a batch, by its own seed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

STREAMS = ("start", "sampler", "reference", "mask")


class ItemNoise:
    """Standard normal noise that depends on (seed, stream, timestep) of each item alone.

    seeds: one integer >= 0 an item. The same level gives the same noise, an item's noise does not
    depend on its batch or device, and the global generator is never touched.
    """

    def __init__(self, seeds: Sequence[int]):
        self.seeds = list(seeds)

    def draw(self, stream: str, t: float, like: Tensor) -> Tensor:
        """(B, ...) fp32 noise of `like`'s shape and device; stream: one of STREAMS."""
        if len(self.seeds) != len(like):
            raise ValueError(f"{len(self.seeds)} seeds were given for a batch of {len(like)}.")
        key = (STREAMS.index(stream), round(t * 1000))
        items = [_normal((seed, *key), like.shape[1:]) for seed in self.seeds]
        return torch.stack(items).to(like.device)


def _normal(key, shape):
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
