"""Held-out renders, pictures that are made once and kept, and how alike they are."""

import math
import time

import numpy as np
import torch
from tqdm import tqdm

from ilvr import LowPassFilter
from training.render import HELD_OUT, render
from training.scenery import scene

BATCH = 16
DRAW = {64: render, 256: scene}  # by the size of the models that were trained on them


def pictures(start, count, size=64):
    """Held-out renders (count, 3, size, size) in [-1, 1], of 64 or of 256 pixels."""
    array = np.stack([DRAW[size](HELD_OUT + start + i) for i in range(count)])
    return torch.from_numpy(array).permute(0, 3, 1, 2) / 127.5 - 1


def generated(path, references, make):
    """The images that `make(y, first seed)` gives for batches y of the references, and the seconds
    an image took; batches already in the folder `path` are read."""
    path.mkdir(parents=True, exist_ok=True)
    files = [path / f"{i}.pt" for i in range(0, len(references), BATCH)]
    for file, y in zip(tqdm(files, path.name, disable=None, leave=False), references.split(BATCH)):
        if not file.exists():
            start = time.perf_counter()
            images = make(y, int(file.stem))
            torch.save((images, time.perf_counter() - start), file)
    batches = [torch.load(file) for file in files]
    return torch.cat([x for x, _ in batches]), sum(s for _, s in batches) / len(references)


def psnr(images, references, factor):
    """Of the downsampled images, peak to peak 2."""
    down = LowPassFilter(factor).down
    error = (down(images) - down(references)).square().mean().item()
    return 10 * math.log10(4 / error)
