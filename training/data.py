"""Training pictures as (count, size, size, 3) uint8 arrays: our renders, or a folder's.

`python -m training.data FOLDER --count 8192` draws the scenes that the latent model trains on.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ilvr.disk import whole
from ilvr.image import fit, open_image, picture_files
from training.render import render
from training.scenery import scene

SHARD = 64  # scenes in a file


def renders(path: Path, count: int, size: int) -> np.ndarray:
    """Seeds 0 to count - 1, drawn once into the file `path` and mapped from there after that."""
    if path.exists():
        pictures = np.load(path, mmap_mode="r")
        if pictures.shape == (count, size, size, 3):
            return pictures
    with whole(path) as part, ProcessPoolExecutor() as pool:
        pictures = np.lib.format.open_memmap(part, "w+", np.uint8, (count, size, size, 3))
        drawn = pool.map(partial(render, size=size), range(count), chunksize=64)
        for i, picture in enumerate(tqdm(drawn, "Drawing landscapes", count)):
            pictures[i] = picture
        pictures.flush()
    return np.load(path, mmap_mode="r")


def draw_scenes(folder: Path, count: int, workers: int | None, first: int = 0):
    """Scenes of seeds from `first` on, in files of SHARD; those already there are not drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        shards = range(first, first + count, SHARD)
        for _ in tqdm(pool.map(partial(draw_shard, folder), shards), "Files", len(shards)):
            pass


def draw_shard(folder: Path, first: int):
    path = folder / f"{first:08d}.npy"
    if not path.exists():
        pictures = np.stack([scene(seed) for seed in range(first, first + SHARD)])
        with whole(path) as part, part.open("wb") as file:
            np.save(file, pictures)


def scenes(folder: Path) -> list[np.ndarray]:
    """The files that `draw_scenes` has finished, mapped. Raises ValueError if there is none."""
    files = sorted(folder.glob("*.npy"))
    if not files:
        raise ValueError(
            f"{folder} has no scenes yet: python -m training.data {folder} draws them."
        )
    return [np.load(file, mmap_mode="r") for file in files]


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
    return tensor(chosen)


def crops(
    shards: list[np.ndarray], count: int, size: int, rng: np.random.Generator
) -> torch.Tensor:
    """(count, 3, size, size) in [-1, 1]: squares cut from random scenes, half of them flipped."""

    def one():
        shard = shards[rng.integers(len(shards))]
        picture = shard[rng.integers(len(shard))]
        y, x = rng.integers(0, picture.shape[0] - size + 1, 2)
        square = picture[y : y + size, x : x + size]
        return square[:, ::-1] if rng.random() < 0.5 else square

    return tensor(np.stack([one() for _ in range(count)]))


def tensor(pictures: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1


def main():
    parser = argparse.ArgumentParser(description="Draws scenes for training.latent.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=8192)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--workers", type=int, help="processes; default: one a core")
    args = parser.parse_args()
    draw_scenes(args.folder, args.count, args.workers, args.first)


if __name__ == "__main__":
    main()
