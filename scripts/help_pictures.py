"""The pictures of the nodes' help pages, in web/docs/*/: a few panels, two beside each other; and
docs/start.png.

python -m scripts.help_pictures [NODE ...]    # draws those named, all if none is
"""

import sys

import torch
from PIL import Image

import ilvr
from ilvr.image import fit, open_image
from tooling.hosts import ROOT

REFERENCES = ROOT / "ilvr/assets/references"
CELL = 128  # help is read in a narrow column
CAST = torch.tensor([0.25, 0.0, -0.15]).reshape(3, 1, 1)  # as a VAE or an upscaler may leave


def path(name):
    return REFERENCES / f"{name}.png"


def shown(name, model=None):
    """A bundled picture as a model's size shows it."""
    return fit(open_image(path(name)), (model or MODEL).configuration.picture_size)


def images(
    name, factor, seeds, ends=(1000, 0), mask=None, guide="state", strength=1.0, model=None, **how
):
    """Pictures that follow a bundled reference by a factor, or a filter; how: settings of
    ilvr.sample."""
    model = model or MODEL
    size = model.configuration.picture_size
    held = None if mask is None else model.on_cells(ilvr.load_mask(path(mask), size, path(name)))
    reference = ilvr.NoisedReference(model.encode(ilvr.load_image(path(name), size)), mask=held)
    low_pass = factor if callable(factor) else ilvr.LowPassFilter(factor)
    refinement = ilvr.Refinement(
        reference, low_pass, ilvr.ConditioningRange(*ends), guide, strength
    )
    return ilvr.to_images(ilvr.sample(model, seeds, refinement, **how))


def image(name, factor, seed=1, **how):
    return images(name, factor, [seed], **how)[0]


def pairs(panels):
    """Labelled pictures, {label: picture}, two in a row."""
    labels, pictures = list(panels), list(panels.values())
    rows = [
        ilvr.contact_sheet([pictures[i : i + 2]], labels[i : i + 2], cell=CELL)
        for i in range(0, len(pictures), 2)
    ]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    for i, row in enumerate(rows):
        sheet.paste(row, (0, i * row.height))
    return sheet


def low_pass_filter():
    panels = {f"N = {n}": image("scene-lake", n) for n in (16, 64, 256)}
    return pairs({"reference": shown("scene-lake"), **panels})


def band_pass_filter():
    kept = [ilvr.BandPassFilter(*ends) for ends in ((1, 128), (1, 64), (16, 128))]
    panels = {low_pass.title: image("scene-lake", low_pass) for low_pass in kept}
    return pairs({"reference": shown("scene-lake"), **panels})


def noised_reference():
    seeds = 1, 3
    filled = images("masked-scene", 1, seeds, mask="mask-scene")
    given = {"image": shown("masked-scene"), "mask": shown("mask-scene")}
    return pairs({**given, **{f"seed {seed}": made for seed, made in zip(seeds, filled)}})


def conditioning_range():
    panels = {
        f"1000 to {end}": image("scene-meadow", 16, ends=(1000, end)) for end in (0, 500, 750)
    }
    return pairs({"reference": shown("scene-meadow"), **panels})


def ilvr_sampler():
    alone = ilvr.to_images(ilvr.sample(MODEL, [1]))[0]
    guided = {"with ILVR, N = 32": image("clip-art", 32), "N = 64": image("clip-art", 64)}
    return pairs({"reference": shown("clip-art"), "sampler alone": alone, **guided})


def start():
    """For docs/: few steps from noise and from where the reference has decided."""
    counts, rows, labels = (4, 6, 8, 20), [], []
    for name in ("scene-lake", "clip-art"):
        for begin in ("noise", "reference"):
            made = [image(name, 32, steps=steps, start=begin) for steps in counts]
            rows.append([shown(name), *made])
            labels.append(f"from {begin}")
    columns = ["reference", *(f"{steps} steps" for steps in counts)]
    return ilvr.contact_sheet(rows, columns, labels, cell=CELL)


def apply_ilvr():
    panels = {
        f"strength {strength:g}": image("scene-lake", 16, guide="prediction", strength=strength)
        for strength in (0, 0.5, 1)
    }
    return pairs({"reference": shown("scene-lake"), **panels})


def apply_low_pass():
    picture, panels = ilvr.load_image(path("clip-art"), 256), {}
    for n in (16, 64):
        low = ilvr.LowPassFilter(n)(picture)
        panels[f"low, N = {n}"], panels[f"high, N = {n}"] = (
            ilvr.to_images(part)[0] for part in (low, picture - low)
        )
    return pairs(panels)


def match_low_frequencies():
    picture = ilvr.load_image(path("scene-lake"), 256)
    reference = ilvr.NoisedReference(picture)
    followed = ilvr.Refinement(ilvr.NoisedReference(MODEL.encode(picture)), ilvr.LowPassFilter(16))
    cast = 0.7 * ilvr.sample(MODEL, [1], followed) + CAST
    made = {"image": cast} | {
        f"N = {n}": ilvr.match_low_frequencies(cast, reference, ilvr.LowPassFilter(n))
        for n in (128, 32)
    }
    panels = {name: ilvr.to_images(picture)[0] for name, picture in made.items()}
    return pairs({"reference": shown("scene-lake"), **panels})


def load_unconditional_model():
    seeds = range(1, 5)
    made = ilvr.to_images(ilvr.sample(MODEL, seeds))
    return pairs({f"seed {seed}": picture for seed, picture in zip(seeds, made)})


def ddpm_sampler():
    panels = {
        variance: image("render-lake", 8, model=PIXELS, steps=50, sampler="ddpm", variance=variance)
        for variance in ("learned", "small", "large")
    }
    return pairs({"reference": shown("render-lake", PIXELS), **panels})


def respaced_scheduler():
    panels = {
        f"{steps} steps": image("render-lake", 8, model=PIXELS, sampler="ddpm", steps=steps)
        for steps in (10, 25, 100)
    }
    return pairs({"reference": shown("render-lake", PIXELS), **panels})


def ilvr_sweep():
    factors, ends = (16, 64), (0, 500)
    rows = [[image("scene-meadow", n, ends=(1000, end)) for n in factors] for end in ends]
    columns, labels = [f"N = {n}" for n in factors], [f"1000-{end}" for end in ends]
    return ilvr.contact_sheet(rows, columns, labels, cell=CELL)


def contact_sheet():
    name, factors = "clip-art-sunset", (32, 64)
    made = zip(*(images(name, n, [1, 2]) for n in factors))
    rows = [[shown(name), *row] for row in made]
    columns = ["reference", *(f"N = {n}" for n in factors)]
    return ilvr.contact_sheet(rows, columns, ["1000-0"], "Clip art to landscape", CELL)


def example_reference():
    names = ["scene-lake", "clip-art", "pixel-art", "scribble"]
    return pairs({name: shown(name) for name in names})


PICTURES = {
    "LowPassFilter": low_pass_filter,
    "BandPassFilter": band_pass_filter,
    "NoisedReference": noised_reference,
    "ConditioningRange": conditioning_range,
    "ILVRSampler": ilvr_sampler,
    "ApplyILVR": apply_ilvr,
    "ApplyLowPass": apply_low_pass,
    "MatchLowFrequencies": match_low_frequencies,
    "LoadUnconditionalModel": load_unconditional_model,
    "DDPMSampler": ddpm_sampler,
    "RespacedScheduler": respaced_scheduler,
    "ILVRSweep": ilvr_sweep,
    "ContactSheet": contact_sheet,
    "ExampleReference": example_reference,
    "start": start,
}


def main(names):
    for name in names or PICTURES:
        file = ROOT / "web/docs" / name / "effect.jpg"
        file = ROOT / "docs/start.png" if name == "start" else file
        file.parent.mkdir(parents=True, exist_ok=True)
        PICTURES[name]().save(file, quality=90)
        print(file.relative_to(ROOT), file.stat().st_size)


if __name__ == "__main__":
    MODEL, PIXELS = ilvr.load("landscapes-256"), ilvr.load("landscapes-64")
    main(sys.argv[1:])
