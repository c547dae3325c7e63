"""ILVR beside what people do instead, on the bundled model: `python -m benchmarks.alternatives`.

Each of the held-out renders is the reference once for every method, with dpmpp_2m at 20 steps:

- img2img: the reference noised, denoised from there; KSampler's `denoise` with Karras levels.
- colour transfer: sampled with no reference, then given its mean and deviation in each channel.
- wavelet colour fix: sampled with no reference, then given its low frequencies, phi at N = 8.
- ILVR, on the state as in the paper and on the prediction.

Layout is the PSNR at an eighth of the size against the reference, in 8 bits. Detail is the
correlation of what phi at N = 8 takes away with the reference's: 1 = the same, 0 = all of it new.
The Frechet distance (28 features, see tooling/frechet.py) is to 2,000 other held-out renders.
What is finished is kept in output/alternatives/, so that a stopped run goes on. The sheet shows
three of the bundled references; the plot, methods.png, has the distance against the layout.
"""

import argparse
from functools import partial
from pathlib import Path

import matplotlib.figure
import numpy as np
import torch

from ilvr import LowPassFilter, NoisedReference, Refinement, contact_sheet, load, sample, to_images
from ilvr.checkpoint import BUNDLED
from ilvr.evaluation.plan import digest
from ilvr.image import load_image, seen
from ilvr.noise import ItemNoise
from ilvr.samplers import dpmpp_2m
from tooling.frechet import distance, features
from tooling.pictures import generated, pictures, psnr

STEPS, FACTOR = 20, 8
REFERENCES = Path(__file__).parents[1] / "ilvr" / "assets" / "references"
SHOWN = ["render-lake", "clip-art", "pixel-art"]


def image_to_image(model, denoise, y, seeds):
    """In the model's own space."""
    levels = model.schedule.karras(int(STEPS / denoise))[-STEPS - 1 :]
    noise = ItemNoise(seeds)
    x = levels[0].noised(y, noise.draw("start", 1000, y))
    for step in dpmpp_2m(model.denoiser(), x, levels, noise, clip=model.autoencoder is None):
        pass
    return step.x


def colour_transfer(model, y, seeds):
    x = sample(model, seeds)
    axes = (2, 3)
    normal = (x - x.mean(axes, keepdim=True)) / x.std(axes, keepdim=True)
    return normal * y.std(axes, keepdim=True) + y.mean(axes, keepdim=True)


def wavelet_colour_fix(model, y, seeds):
    x = sample(model, seeds)
    return x + LowPassFilter(FACTOR)(y - x)


def ilvr(model, factor, guide, y, seeds):
    return sample(model, seeds, Refinement(NoisedReference(y), LowPassFilter(factor), guide=guide))


METHODS = {
    **{f"img2img {d:g}": partial(image_to_image, denoise=d) for d in (0.4, 0.6, 0.75, 0.9)},
    "colour transfer": colour_transfer,
    "wavelet colour fix": wavelet_colour_fix,
    "ILVR on the prediction, N = 8": partial(ilvr, factor=8, guide="prediction"),
    **{f"ILVR, N = {n}": partial(ilvr, factor=n, guide="state") for n in (4, 8, 16)},
}
# What completes ILVR's line in the plot; not on the sheet.
MORE = {f"ILVR, N = {n}": partial(ilvr, factor=n, guide="state") for n in (32, 64)}


def main(arguments=None) -> str:
    """Draws the sheet and, unless the count is 0, the plot; gives the table, one row a method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=256, help="images a method [256], 0 for the sheet alone"
    )
    parser.add_argument("--out", type=Path, default=Path("output/alternatives"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    model = load("landscapes-64")
    sheet(model).save(options.out / "alternatives.png")
    if not options.count:
        return ""
    references, real = pictures(0, options.count), features(pictures(10_000, 2000))
    found = measured(options.out / digest([BUNDLED["landscapes-64"]]), model, references, real)
    plot(found).savefig(options.out / "methods.png", dpi=120)
    own = distance(features(references), real)
    lines = [
        f"{options.count} references; themselves: {own:.3f}",
        "",
        "| method | layout kept, dB | detail in common | Frechet distance |",
        "|---|---|---|---|",
        *(f"| {name} | {a:.0f} | {b:.2f} | {c:.2f} |" for name, (a, b, c) in found.items()),
        "",
        *(verdict(name, found) for name in ("colour transfer", "wavelet colour fix")),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    return text


def measured(out, model, references, real):
    """{method: (layout, dB; detail in common; Frechet distance)}"""
    found = {}
    for name, method in (METHODS | MORE).items():

        def make(y, seed, method=method):
            return method(model, y=y, seeds=range(seed, seed + len(y)))

        images, _ = generated(out / name, references, make)
        rounded, frechet = seen(images), distance(features(images), real)
        layout, shared = psnr(rounded, references, FACTOR), detail(rounded, references)
        found[name] = layout, shared, frechet
    return found


def line(found):
    """(layouts, Frechet distances) of ILVR on the state, the smallest layout first."""
    points = sorted(found[name] for name in found if name.startswith("ILVR, "))
    return [layout for layout, _, _ in points], [frechet for *_, frechet in points]


def verdict(name, found) -> str:
    """Whether a method is worse than ILVR where both keep as much of the layout."""
    layout, _, frechet = found[name]
    layouts, distances = line(found)
    at = min(max(layout, layouts[0]), layouts[-1])
    ours = float(np.interp(at, layouts, distances))
    word = "worse than" if frechet > ours else "not worse than"
    return f"At {layout:.0f} dB {name} is {word} ILVR at {at:.0f} dB: {frechet:.2f}, {ours:.2f}.\n"


def plot(found):
    """Fidelity to the reference against quality, a point a method."""
    figure = matplotlib.figure.Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*line(found), "o--", color="C0", label="ILVR")
    for name, (layout, _, frechet) in found.items():
        on_line = name.startswith("ILVR, ")
        if not on_line:
            axes.plot(layout, frechet, "s", color="C1")
        left = on_line == (layout < 40)  # of its point
        axes.annotate(
            name.removeprefix("ILVR, "), (layout, frechet), (-6 if left else 6, -12 * on_line),
            textcoords="offset points", ha="right" if left else "left", fontsize=8,
        )  # fmt: skip
    axes.set(xlabel="layout kept of the reference, dB", ylabel="Frechet distance to renders")
    axes.margins(0.1)
    axes.legend(loc="lower left")
    return figure


def detail(images, references):
    low_pass = LowPassFilter(FACTOR)
    a, b = ((x - low_pass(x)).flatten(1) for x in (images, references))
    return torch.nn.functional.cosine_similarity(a, b).mean().item()


def sheet(model):
    """Rows: references; columns: the reference and each method's picture of one seed."""
    y = torch.cat([load_image(REFERENCES / f"{name}.png", 64) for name in SHOWN])
    seeds = [1] * len(y)
    columns = [y, *(method(model, y=y, seeds=seeds) for method in METHODS.values())]
    names = ["reference", *(name.replace("ILVR on the prediction", "ILVR, x0") for name in METHODS)]
    return contact_sheet(list(zip(*map(to_images, columns))), names)


if __name__ == "__main__":
    main()
