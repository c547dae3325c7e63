"""ILVR through an autoencoder: `python -m benchmarks.latent --model landscapes-256`.

On held-out renders of 256 pixels, by N. Of the autoencoder: how far pictures are from what it makes
of them; and how far phi in latents, decoded, is from phi in pixels. Then each render is the
reference once for every method, dpmpp_2m with 20 steps:

- ILVR in latents, with the exact filter and with the paper's bicubic one;
- img2img: the reference noised, denoised from there; KSampler's `denoise` with Karras levels;
- colour transfer: sampled with no reference, then given its mean and deviation in each channel.

Agreement is the PSNR, peak to peak 2, of what is downsampled by N: of the latents by N / 8; of the
pictures in 8 bits; and of these after MatchLowFrequencies at N. Layout is the SSIM of pictures an
eighth as large. Detail is the correlation of what phi takes away: 1 = the reference's, 0 = all new.
What is finished is kept in output/latent/, so that a stopped run goes on. The sheet shows the first
references.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from benchmarks.alternatives import colour_transfer, image_to_image
from ilvr import (
    LowPassFilter,
    NoisedReference,
    Refinement,
    contact_sheet,
    load,
    match_low_frequencies,
    steps,
    to_images,
)
from ilvr.checkpoint import located
from ilvr.evaluation.plan import digest
from ilvr.image import seen
from tooling.frechet import distance, features
from tooling.pictures import generated, pictures, psnr

FACTORS = [16, 32, 64]
DENOISE = [0.5, 0.7, 0.9]
SHOWN = 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("landscapes-256"), help="name or file")
    parser.add_argument("--count", type=int, default=64, help="references [64]")
    parser.add_argument("--factors", type=float, nargs="+", default=FACTORS)
    parser.add_argument("--out", type=Path, default=Path("output/latent"))
    options = parser.parse_args()
    model = load(options.model)
    kept = options.out / digest([located(options.model)]) / str(options.count)
    y, _ = generated(kept / "references", torch.empty(options.count), drawn)
    z, _ = generated(kept / "encoded", y, lambda part, _: model.encode(part))

    print(f"{options.count} references\n")
    autoencoder(model, y, z, kept, options.factors)
    print()
    columns = methods(model, y, z, kept, options.factors)
    names, shown = ["reference", *columns], [y, *columns.values()]
    rows = list(zip(*(to_images(images[:SHOWN]) for images in shown)))
    contact_sheet(rows, names, cell=192).save(options.out / "methods.png")


def drawn(batch, first):
    return pictures(first, len(batch), 256)


def autoencoder(model, y, z, kept, factors):
    """Prints what encoding and decoding alone do, and phi in latents beside phi in pixels."""
    whole, _ = generated(kept / "decoded", z, lambda part, _: model.decode(part))
    far = distance(features(whole), features(y))
    print(f"Encoded and decoded: {decibels(whole, y):.1f} dB, Frechet distance {far:.2f}\n")
    print("| N | encoded and decoded, downsampled | phi in latents, decoded, and phi in pixels |")
    print("|---|---|---|")
    for n in factors:
        phi, cells = LowPassFilter(n), LowPassFilter(n).on_cells(model.configuration.compression)
        low, _ = generated(kept / f"phi-{n:g}", z, lambda part, _, f=cells: model.decode(f(part)))
        print(
            f"| {n:g} | {psnr(whole, y, n):.1f} dB | {decibels(low, phi(y)):.1f} dB |", flush=True
        )


def methods(model, y, z, kept, factors):
    """Prints the rows of all methods; {name: its pictures}."""
    print("| method | N | latents, dB | pictures, dB | matched, dB | layout | detail |")
    print("|---|---|---|---|---|---|---|")
    cell, found = model.configuration.compression, {}
    for name, n, make in rows(model, factors):
        made, _ = generated(kept / name, z, make)
        images, _ = generated(kept / f"{name}-decoded", made, lambda part, _: model.decode(part))
        for factor in [n] if n else factors:
            print(f"| {line(name, factor, (made, images), (z, y), cell)} |", flush=True)
        found[name] = images

    def transferred(part, first):
        return colour_transfer(model, part, range(first, first + len(part)))

    images, _ = generated(kept / "colour transfer", y, transferred)
    for factor in factors:
        print(f"| {line('colour transfer', factor, (None, images), (z, y), cell)} |", flush=True)
    return found | {"colour transfer": images}


def rows(model, factors):
    """(name, N or None for all, what makes latents of a reference's) of each method in latents."""
    for n in factors:
        for name, exact in (("ILVR", True), ("ILVR, bicubic", False)):
            yield f"{name}, N = {n:g}", n, partial(ilvr, model, LowPassFilter(n, exact=exact))
    for denoise in DENOISE:
        yield f"img2img {denoise:g}", None, partial(img2img, model, denoise)


def ilvr(model, low_pass, z, first):
    refinement = Refinement(NoisedReference(z), low_pass)
    *_, last = steps(model, range(first, first + len(z)), refinement)
    return last.x


def img2img(model, denoise, z, first):
    return image_to_image(model, denoise, z, range(first, first + len(z)))


def line(name, n, made, references, cell):
    """A row of the table: of (latents or None, pictures) and those of the references."""
    (latents, images), (z, y) = made, references
    low_pass, images = LowPassFilter(n), seen(images)
    matched = seen(match_low_frequencies(images, NoisedReference(y), low_pass))
    small = [LowPassFilter(8).down(x) for x in (images, y)]
    new = [(x - low_pass(x)).flatten(1) for x in (images, y)]
    numbers = [
        "" if latents is None else f"{psnr(latents, z, n / cell):.0f}",
        f"{psnr(images, y, n):.1f}",
        f"{psnr(matched, y, n):.1f}",
        f"{ssim(*small, data_range=2.0):.2f}",
        f"{torch.nn.functional.cosine_similarity(*new).mean():.2f}",
    ]
    return " | ".join([name.split(", N")[0], f"{n:g}", *numbers])


def decibels(x, y):
    return psnr(x, y, 1)


if __name__ == "__main__":
    main()
