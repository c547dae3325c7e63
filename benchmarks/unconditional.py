"""Models alone, with no reference: `python -m benchmarks.unconditional --model landscapes-64`.

In the type that the command line takes. The Frechet distance (28 features, see tooling/frechet.py)
of samples to as many held-out renders of their size, beside that of other renders to them, and
their variety: the standard deviations of the features as a share of the renders', in the mean.
Larger pictures are also compared reduced to 64 pixels. What is finished is kept in
output/unconditional/, so that a stopped run goes on. The sheet of a sampler shows its first 32
pictures.
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from ilvr import contact_sheet, load, sample, to_images
from ilvr.checkpoint import located
from ilvr.evaluation.plan import digest
from ilvr.settings import fastest_dtype
from tooling.frechet import distance, features
from tooling.pictures import BATCH, pictures

STEPS = {"dpmpp_2m": 20, "ddpm": 100}
SHOWN, ROW = 32, 8
REDUCED = 64  # pixels


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=Path, nargs="+", default=[Path("landscapes-64")], help="names or files"
    )
    parser.add_argument("--count", type=int, default=1000, help="samples [1000]")
    parser.add_argument("--sampler", nargs="+", default=list(STEPS), choices=STEPS)
    parser.add_argument("--out", type=Path, default=Path("output/unconditional"))
    options = parser.parse_args()
    for name, sampler in product(options.model, options.sampler):
        report(name, sampler, options.count, options.out)


def report(name, sampler, count, out):
    """Prints the numbers and draws the sheet of one model and sampler."""
    model = load(name, dtype=getattr(torch, fastest_dtype("cpu")))
    size = model.configuration.picture_size
    real, others = (rendered(out, start, count, size) for start in (10_000, 20_000))
    made = partial(sampled, model, sampler)
    folder = out / digest([located(name)]) / f"{sampler}-{STEPS[sampler]}"
    found, shown = kept(folder, count, made)
    print(f"{count} of {name.stem}, {sampler}, {STEPS[sampler]} steps")
    for i, side in enumerate(sizes(size)):
        theirs, ours = real[:, i], found[:, i]
        variety = (ours.std(0) / theirs.std(0)).mean()
        print(
            f"at {side} pixels: {distance(ours, theirs):.3f}, variety {variety:.2f}; "
            f"renders: {distance(others[:, i], theirs):.3f}",
            flush=True,
        )
    images = to_images(shown[:SHOWN])
    rows = [images[i : i + ROW] for i in range(0, len(images), ROW)]
    contact_sheet(rows).save(out / f"{name.stem}-{sampler}.png")


def sizes(size):
    return [size, REDUCED] if size > REDUCED else [size]


def rendered(out, start, count, size):
    """Features of held-out renders."""
    made = lambda first, last: pictures(start + first, last - first, size)  # noqa: E731
    return kept(out / f"held-out-{size}-{start}", count, made)[0]


def sampled(model, sampler, first, last):
    return sample(model, range(first, last), sampler=sampler, steps=STEPS[sampler])


def kept(folder, count, make):
    """(features (count, sizes, 28), SHOWN pictures or some more) of what `make(first, last)` gives,
    in batches; those already in the folder are read."""
    folder.mkdir(parents=True, exist_ok=True)
    found, shown = [], []
    for first in tqdm(range(0, count, BATCH), folder.name, disable=None, leave=False):
        last = min(first + BATCH, count)
        file = folder / f"{first}-{last}.pt"
        if not file.exists():
            images = make(first, last)
            scales = [F.adaptive_avg_pool2d(images, s) for s in sizes(images.shape[-1])]
            measured = torch.stack([features(scaled) for scaled in scales], dim=1)
            torch.save((measured, images.half() if first < SHOWN else None), file)
        numbers, images = torch.load(file)
        found.append(numbers)
        shown += [] if images is None else [images.float()]
    return torch.cat(found), torch.cat(shown)


if __name__ == "__main__":
    main()
