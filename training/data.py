"""Training pictures as one (count, size, size, 3) uint8 array: our renders, or a folder's."""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ilvr.image import fit, open_image, picture_files
from training.render import render


def renders(path: Path, count: int, size: int) -> np.ndarray:
    """Seeds 0 to count - 1, drawn once into the file `path` and mapped from there after that."""
    if path.exists():
        pictures = np.load(path, mmap_mode="r")
        if pictures.shape == (count, size, size, 3):
            return pictures
    part = path.with_suffix(".part")
    pictures = np.lib.format.open_memmap(part, "w+", np.uint8, (count, size, size, 3))
    with ProcessPoolExecutor() as pool:
        drawn = pool.map(partial(render, size=size), range(count), chunksize=64)
        for i, picture in enumerate(tqdm(drawn, "Drawing landscapes", count)):
            pictures[i] = picture
    pictures.flush()
    os.replace(part, path)
    return np.load(path, mmap_mode="r")


def folder(path: Path, size: int) -> np.ndarray:
    """Every picture under `path`, its centre square reduced to `size`; unreadable ones are named.

    Raises ValueError if none is readable.
    """
    files = picture_files(path)
    pictures = [read(file, size) for file in tqdm(files, f"Reading {path}")]
    pictures = [picture for picture in pictures if picture is not None]
    if not pictures:
        raise ValueError(f"{path} holds no readable picture: give a folder with PNG or JPEG files.")
    return np.stack(pictures)


def read(file: Path, size: int) -> np.ndarray | None:
    try:
        return np.asarray(fit(open_image(file), size))
    except ValueError as error:
        tqdm.write(f"Skipped: {error}")
        return None


def batch(pictures: np.ndarray, count: int, rng: np.random.Generator) -> torch.Tensor:
    """(count, 3, size, size) in [-1, 1]: random pictures, half of them flipped sideways."""
    chosen = pictures[np.sort(rng.integers(len(pictures), size=count))]
    flip = rng.random(count) < 0.5
    chosen = np.where(flip[:, None, None, None], chosen[:, :, ::-1], chosen)
    return torch.from_numpy(chosen).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1
