"""Which band of the reference is kept, on the bundled model: `python -m benchmarks.bands`.

Each of the held-out renders is the reference once for every filter, with dpmpp_2m at 20 steps. Kept
is the PSNR of the filtered pictures against the filtered references, in float. Freed is how large
the change of the rest is, root mean square, beside that of the whole reference about its mean. The
Frechet distance (28 features, see tooling/frechet.py) is to 2,000 other held-out renders. Masks of
one grey follow: how much of the reference's low band (N = 8) is in the result, and that band's
deviation as a share of the renders'. What is finished is kept in output/bands/, so that a stopped
run goes on. The sheet shows each filter on bundled references, two pictures each.
"""

import argparse
import math
from pathlib import Path

import torch

from ilvr import (
    BandPassFilter,
    LowPassFilter,
    NoisedReference,
    Refinement,
    contact_sheet,
    load,
    sample,
    to_images,
)
from ilvr.checkpoint import BUNDLED
from ilvr.evaluation.plan import digest
from ilvr.image import load_image
from tooling.frechet import distance, features
from tooling.pictures import generated, pictures

REFERENCES = Path(__file__).parents[1] / "ilvr" / "assets" / "references"
SHOWN = ["render-lake", "render-meadow", "render-sunset"]
FILTERS = {
    "mean freed": BandPassFilter(1, 64),
    "N >= 32 freed": BandPassFilter(1, 32),
    "N >= 16 freed": BandPassFilter(1, 16),
    "4 to 32 kept": BandPassFilter(4, 32),
    "luminance kept": LowPassFilter(1, channels="luminance"),
    "colour kept, N = 8": LowPassFilter(8, channels="colour"),
}
GREYS = (0.25, 0.5, 0.75)
MASKED = LowPassFilter(8)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=128, help="images a filter [128], 0 for the sheet alone"
    )
    parser.add_argument("--out", type=Path, default=Path("output/bands"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    model = load("landscapes-64")
    sheet(model).save(options.out / "bands.png")
    if not options.count:
        return
    references, real = pictures(0, options.count), features(pictures(10_000, 2000))
    out = options.out / digest([BUNDLED["landscapes-64"]])
    print(f"{options.count} references: {distance(features(references), real):.2f}\n")
    print("| filter | kept, dB | freed | Frechet distance |\n|---|---|---|---|")
    for name, low_pass in FILTERS.items():
        images = followed(out / name, model, references, low_pass)
        kept = decibels(low_pass(images), low_pass(references))
        freed = rms((images - references) - low_pass(images - references)) / spread(references)
        print(f"| {name} | {kept:.0f} | {freed:.2f} | {distance(features(images), real):.2f} |")
    print("\n| grey | followed | deviation | Frechet distance |\n|---|---|---|---|")
    for grey in GREYS:
        images = followed(out / f"grey {grey}", model, references, MASKED, grey)
        low, y = (MASKED(x - x.mean(0)) for x in (images, references))
        share = ((low * y).sum() / y.square().sum()).item()
        frechet = distance(features(images), real)
        print(f"| {grey:g} | {share:.2f} | {rms(low) / rms(y):.2f} | {frechet:.2f} |")


def followed(out, model, references, low_pass, grey=None):
    def make(y, seed):
        mask = None if grey is None else torch.full((1, 1, *y.shape[2:]), grey)
        refinement = Refinement(NoisedReference(y, mask=mask), low_pass)
        return sample(model, range(seed, seed + len(y)), refinement)

    return generated(out, references, make)[0]


def rms(x):
    return x.square().mean().sqrt().item()


def spread(x):
    return rms(x - x.mean((-2, -1), keepdim=True))


def decibels(a, b):
    return 20 * math.log10(2 / rms(a - b))


def sheet(model):
    """A row a reference and seed, a column a filter."""
    references = [load_image(REFERENCES / f"{name}.png", 64) for name in SHOWN]
    columns = [to_images(torch.cat(references).repeat_interleave(2, 0))]
    for low_pass in FILTERS.values():
        y = NoisedReference(torch.cat(references).repeat_interleave(2, 0))
        columns.append(to_images(sample(model, range(6), Refinement(y, low_pass))))
    return contact_sheet(list(zip(*columns)), ["reference", *FILTERS], cell=128)


if __name__ == "__main__":
    main()
