"""Landscapes in more detail, for 256 pixels: `python -m training.scenery --out sheet.png`.

The composition is `render`'s; rock has strata and gullies, forests are trees, meadows grass and
flowers, lakes ripples and reeds, clouds a lit and a shaded side. Strokes are some pixels wide, as
latents of 4 channels at an eighth of the size can carry. Canvases are those of `render`.
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw

from ilvr import contact_sheet

from .render import (
    HELD_OUT,
    MEADOWS,
    PALETTES,
    ROCKS,
    add_sun,
    draw_pine,
    jittered,
    mix,
    noise,
    outline,
    sky,
    smoothstep,
    to_bytes,
)

GREEN_ROCKS = ROCKS[3:]  # the colours that carry forests
FLOWERS = [(244, 214, 70), (232, 98, 116), (240, 240, 246), (150, 108, 214), (238, 140, 52)]


def scene(seed: int, size: int = 256) -> np.ndarray:
    """A landscape, (size, size, 3) uint8: drawn at 1.5 times the size and reduced."""
    rng = np.random.default_rng([seed, 256])
    n = size * 3 // 2
    palette = jittered(PALETTES[str(rng.choice(list(PALETTES)))], rng)
    horizon = int(n * rng.uniform(0.4, 0.7))
    canvas = sky(palette, n, horizon)
    sun_x = rng.uniform(0.1, 0.9)
    if rng.random() < 0.6:
        add_sun(canvas, palette, sun_x, rng.uniform(0.08, horizon / n - 0.06), rng)
    add_clouds(canvas, palette, horizon, sun_x, rng)
    canvas = with_ridges(canvas, palette, horizon, sun_x, rng)
    if rng.random() < 0.55:
        canvas = with_lake(canvas, palette, horizon, rng)
    else:
        canvas = with_meadow(canvas, palette, horizon, rng)
    picture = Image.fromarray(to_bytes(canvas)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def add_clouds(canvas, palette, horizon, sun_x, rng):
    """Fractal noise on a plane overhead, darker where more cloud lies between it and the sun."""
    n = len(canvas)
    above = np.clip(1 - np.arange(n) / horizon, 0, 1)
    rows = ((1 / (1 + 3 * above) - 0.25) / 0.75 * (n - 1)).astype(int)
    density = noise(rng, n, n, rng.uniform(1.5, 3), octaves=5, stretch=rng.uniform(1.5, 3))[rows]
    density = density - rng.uniform(0.46, 0.7)
    alpha = smoothstep(density / 0.16) * above[:, None] ** 0.5 * rng.uniform(0.75, 0.97)
    step = max(1, n // 64)
    side = 1 if sun_x > 0.5 else -1
    padded = np.pad(density, 3 * step, mode="edge")
    starts = [((3 - i) * step, (3 + side * i) * step) for i in (1, 2, 3)]
    towards = [padded[y : y + n, x : x + n] for y, x in starts]
    lit = np.exp(-7 * np.clip(np.mean(towards, axis=0), 0, 1) - 2 * np.clip(density, 0, 1))
    bright = mix(palette.horizon, palette.light, 0.75) * (0.5 + 0.55 * palette.strength**2)
    dark = mix(palette.zenith, bright, 0.35)
    canvas[:] = mix(canvas, mix(dark, bright, lit[..., None]), alpha[..., None])


def with_ridges(canvas, palette, horizon, sun_x, rng) -> np.ndarray:
    """One to four ridges, from the far and hazy one to the near one, some of them wooded."""
    count = rng.integers(1, 5)
    for i in range(count):
        nearness = (i + 1) / count
        height = rng.uniform(0.14, 0.6) * (1.15 - 0.55 * nearness) * horizon / len(canvas) * 2
        haze = (1 - nearness) * rng.uniform(0.45, 0.75) + rng.uniform(0.03, 0.18)
        wooded = rng.random() < 0.3 + 0.4 * nearness
        canvas = with_ridge(canvas, palette, horizon, (height, haze, wooded), sun_x, rng)
    return canvas


def with_ridge(canvas, palette, horizon, ridge, sun_x, rng) -> np.ndarray:
    """A fractal outline over the horizon: rock, snow on some, trees on others, then the air."""
    n = len(canvas)
    height, haze, wooded = ridge
    crags = 0.02 * (noise(rng, 1, n, 30, octaves=4)[0] - 0.5)
    top = horizon - n * height * (outline(rng, n) + (0 if wooded else 2) * crags)
    depth = (np.arange(n)[:, None] - top) / n
    light = relief(rng, top, depth, sun_x)

    colours = GREEN_ROCKS if wooded else ROCKS
    bright, dark = (np.array(colour) / 255 for colour in colours[rng.integers(len(colours))])
    rock = mix(dark, bright, np.clip(light + 0.25 * strata(rng, n), 0, 1)[..., None])
    if not wooded and height > 0.18 and rng.random() < 0.6:
        white = mix([0.55, 0.62, 0.78], [1, 1, 1], np.clip(1.2 * light, 0, 1)[..., None])
        rock = mix(rock, white, snow(rng, top, light))

    rock = rock * mix([1, 1, 1], palette.light, 0.8) * palette.strength
    mist = haze + (1 - haze) * 0.35 * smoothstep(1 - (horizon - np.arange(n)) / (0.12 * n))
    rock = mix(rock, palette.horizon, mist[:, None, None])
    inside = np.clip(depth * n + 0.5, 0, 1)[..., None] * (np.arange(n) < horizon)[:, None, None]
    canvas = mix(canvas, rock, inside)
    if not wooded:
        return canvas
    green = mix(dark, [0.11, 0.27, 0.19], 0.5) * palette.strength
    size = n * rng.uniform(0.045, 0.075) * (1.3 - haze)
    return with_forest(canvas, (top, horizon, mist), green, palette, (size, sun_x), rng)


def relief(rng, top, depth, sun_x) -> np.ndarray:
    """(n, n) light in [0, 1]: spurs and gullies that run down from the outline, lit from a side."""
    n = len(top)
    lean = rng.choice([-1, 1]) * rng.uniform(0.2, 0.7)
    wander = 0.1 * n * (noise(rng, n, n, 3) - 0.5)
    columns = np.arange(n) + n // 2 + lean * np.clip(depth, 0, 0.6) * n + wander
    columns = np.clip(columns, 0, 2 * n - 1).astype(int)
    spurs = 1 - np.abs(2 * noise(rng, n, 2 * n, 7, octaves=3) - 1)
    slope = np.take_along_axis(np.roll(spurs, 4, axis=1) - spurs, columns, axis=1)
    smooth = np.convolve(np.pad(top, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    fall = np.gradient(smooth) * np.exp(-np.clip(depth, 0, 1) / 0.12)
    side = 1 if sun_x > 0.5 else -1
    grain = noise(rng, n, n, 12, octaves=2) - 0.5
    return np.clip(0.5 + side * (1.6 * slope + 0.3 * fall) + 0.3 * grain, 0, 1)


def strata(rng, n) -> np.ndarray:
    """(n, n) in [-0.5, 0.5]: layers of rock, bent and a little tilted."""
    ys, xs = np.mgrid[0:n, 0:n] / n
    bent = ys + rng.uniform(-0.25, 0.25) * xs + 0.06 * noise(rng, n, n, 3)
    layers = noise(rng, 1, 4 * n, rng.uniform(20, 45), octaves=2)[0]
    return layers[np.clip((bent + 0.5) * 2 * n, 0, 4 * n - 1).astype(int)] - 0.5


def snow(rng, top, light) -> np.ndarray:
    """(n, n, 1) coverage: all above a ragged line, in the gullies still some way below it."""
    n = len(top)
    line = top.min() + rng.uniform(0.25, 0.7) * (top.max() - top.min())
    ragged = line + 0.16 * n * (noise(rng, n, n, 8, octaves=3) - 0.5) + 0.16 * n * (0.5 - light)
    return smoothstep((ragged - np.arange(n)[:, None]) / (0.02 * n) + 0.5)[..., None] * 0.96


def with_forest(canvas, slope, green, palette, look, rng) -> np.ndarray:
    """Small trees all over a slope (its top, its foot, its haze by row), the upper ones first.

    look: height of the trees and where the sun is across.
    """
    n = len(canvas)
    top, foot, mist = slope
    size, sun_x = look
    where = noise(rng, n, n, 4, octaves=4)
    xs = rng.uniform(0, n, int(3.5 * n * (foot - top).mean() / size**2))
    columns = xs.astype(int)
    feet = top[columns] + rng.random(len(xs)) * (foot - top[columns]) + 0.3 * size
    rows = np.clip(feet.astype(int), 0, foot - 1)
    density = where[rows, columns] + rng.normal(0, 0.05, len(xs))
    kept = (density > rng.uniform(0.1, 0.42)) & (feet <= foot)
    tone = rng.uniform(0.94, 1.07, len(xs)) * (0.65 + 0.7 * where[columns, rows])
    colours = mix(green * tone[:, None], palette.horizon, mist[rows][:, None]) * 255
    picture = Image.fromarray(to_bytes(canvas))
    draw = ImageDraw.Draw(picture)
    for i in np.flatnonzero(kept)[np.argsort(feet[kept])]:
        draw_spire(draw, xs[i], feet[i], size * rng.uniform(0.7, 1.3), colours[i], sun_x * n)
    return np.asarray(picture, np.float32) / 255


def draw_spire(draw, x, foot, height, colour, sun):
    """A tree of two halves, the one off the sun in shade."""
    half, high = 0.3 * height, foot - height
    lit = tuple(int(part) for part in colour)
    shade = tuple(int(0.84 * part) for part in colour)
    left, right = (lit, shade) if sun < x else (shade, lit)
    draw.polygon([(x - half, foot), (x, high), (x, foot)], fill=left)
    draw.polygon([(x, foot), (x, high), (x + half, foot)], fill=right)


def with_lake(canvas, palette, horizon, rng) -> np.ndarray:
    """The picture above, mirrored in rippled water and tinted with depth; trees and reeds."""
    n = len(canvas)
    trees = rng.random() < 0.5
    if trees:
        feet = horizon - rng.uniform(0, 0.01, rng.integers(3, 14)) * n
        canvas = with_pines(canvas, palette, feet, rng.uniform(0.05, 0.09), rng)
    below = np.arange(n - horizon)[:, None]
    near = below / (n - horizon)
    rows = ((1 - 1 / (1 + 3 * near[:, 0])) * 1.2 * (n - 1)).astype(int)
    waves = noise(rng, n, n, rng.uniform(3, 5), octaves=3, stretch=4)[rows] - 0.5
    rough = rng.uniform(0.02, 0.07)
    up = horizon - 1 - below * rng.uniform(0.85, 1) + waves * rough * n * (0.03 + near)
    along = np.arange(n) + 0.3 * waves * rough * n * (0.03 + near)
    padded = np.pad(canvas[:horizon], ((3, 3), (0, 0), (0, 0)), mode="edge")
    smeared = np.mean([padded[y : y + horizon] for y in range(7)], axis=0)
    rows = np.clip(np.abs(up), 0, horizon - 1).astype(int)
    mirrored = smeared[rows, np.clip(along, 0, n - 1).astype(int)]

    water = mix(palette.zenith, palette.horizon, 0.25) * 0.8
    lake = mix(mirrored, water, (0.15 + 0.6 * near**0.8)[..., None])
    slopes = np.gradient(waves, axis=0) / (0.05 + 0.03 * near)
    shine = np.clip(rough * 4 * slopes, -0.5, 0.5)[..., None] * palette.strength
    canvas[horizon:] = lake + (0.1 + 0.2 * near[..., None]) * shine * mix(
        palette.horizon, palette.light, 0.5
    )
    if trees and rng.random() < 0.5:
        canvas = with_bank(canvas, palette, rng)
    if rng.random() < 0.4:
        canvas = with_reeds(canvas, palette, rng)
    return canvas


def with_bank(canvas, palette, rng) -> np.ndarray:
    """A dark near shore in one of the lower corners, with large pines."""
    n = len(canvas)
    fall = np.linspace(0, rng.uniform(1.5, 2.5), n)[:: rng.choice([-1, 1])]
    top = n * (1 - 0.2 * np.clip(1 - fall, 0, 1) - 0.03 * noise(rng, 1, n, 5)[0] * (fall < 1))
    inside = np.clip(np.arange(n)[:, None] - top + 0.5, 0, 1)[..., None]
    turf, bright, dark = ground(n, palette, 0, rng)
    canvas = mix(canvas, turf * 0.55, inside)
    spots = rng.choice(np.flatnonzero(fall < 0.7), rng.integers(2, 5))
    canvas = with_pines(canvas, palette, top[spots] + 0.03 * n, 0.26, rng, spots)
    xs = rng.choice(np.flatnonzero(fall < 1), 60)
    roots = top[xs] + rng.random(60) * 0.12 * n
    return with_blades(canvas, (xs, roots, 0.05), (0.55 * bright, 0.5 * dark), palette, rng)


def with_reeds(canvas, palette, rng) -> np.ndarray:
    """A stand of tall, bent stalks at the lower edge."""
    n = len(canvas)
    count = rng.integers(8, 26)
    xs = n * (rng.uniform(0, 1) + 0.12 * rng.standard_normal(count))
    feet = n * (1.02 - 0.06 * rng.random(count))
    colours = np.array([0.55, 0.52, 0.25]), np.array([0.16, 0.22, 0.1])
    return with_blades(canvas, (xs, feet, rng.uniform(0.1, 0.2)), colours, palette, rng)


def with_meadow(canvas, palette, horizon, rng) -> np.ndarray:
    """Turf with grass near, flowers on some meadows, pines on half of them."""
    n = len(canvas)
    turf, bright, dark = ground(n, palette, horizon, rng)
    canvas[horizon:] = turf[horizon:]
    near = rng.uniform(0.3, 1.05, 160) ** 0.8
    feet = horizon + near * (n - horizon)
    xs = rng.uniform(0, n, len(feet))
    canvas = with_blades(canvas, (xs, feet, 0.015 + 0.06 * near**1.5), (bright, dark), palette, rng)
    if rng.random() < 0.45:
        canvas = with_flowers(canvas, palette, horizon, rng)
    if rng.random() < 0.5:
        nearness = rng.uniform(0.02, 0.75, rng.integers(3, 14)) ** 1.5
        pines = horizon + nearness * (n - horizon)
        canvas = with_pines(canvas, palette, pines, 0.07 + 0.3 * nearness, rng)
    return canvas


def ground(n, palette, horizon, rng):
    """(n, n, 3) turf below the horizon: noise seen in perspective, hazy far away; its colours."""
    bright, dark = (np.array(colour) / 255 for colour in MEADOWS[rng.integers(len(MEADOWS))])
    near = np.clip((np.arange(n) - horizon) / (n - horizon), 0, 1)
    rows = ((1 - 1 / (1 + 4 * near)) * (n - 1)).astype(int)
    turf = noise(rng, n, n, 5, octaves=3, stretch=2.5)[rows] - 0.5
    lit = np.clip(0.65 - 0.3 * near[:, None] + 1.8 * turf, 0, 1)[..., None]
    colour = mix(dark, bright, lit) * mix([1, 1, 1], palette.light, 0.8) * palette.strength
    return mix(colour, palette.horizon, 0.4 * np.exp(-near * 7)[:, None, None]), bright, dark


def with_blades(canvas, stand, colours, palette, rng) -> np.ndarray:
    """Blades of grass: `stand` is their columns, feet and length, the far ones drawn first."""
    n = len(canvas)
    xs, feet, length = stand
    lengths = n * length * rng.uniform(0.5, 1.2, len(xs))
    leans = rng.normal(rng.normal(0, 0.15), 0.22, len(xs)) * lengths
    share = rng.random((len(xs), 1))
    tones = mix(colours[1], colours[0], 0.3 + 0.45 * share) * palette.strength
    tones = np.clip(tones * mix([1, 1, 1], palette.light, 0.8) * 255, 0, 255).astype(int)
    picture = Image.fromarray(to_bytes(canvas))
    draw = ImageDraw.Draw(picture)
    for i in np.argsort(feet):
        x, y, high = xs[i], feet[i], feet[i] - lengths[i]
        half = 0.07 * lengths[i] + 0.8
        draw.polygon([(x - half, y), (x + leans[i], high), (x + half, y)], fill=tuple(tones[i]))
    return np.asarray(picture, np.float32) / 255


def with_flowers(canvas, palette, horizon, rng) -> np.ndarray:
    """Dots of a colour or two, in drifts, larger near."""
    n = len(canvas)
    near = rng.uniform(0.4, 1, 90)
    xs = rng.uniform(0, n, len(near))
    feet = horizon + near * (n - horizon) - 1
    drifts = noise(rng, n, n, 5, stretch=2)[np.clip(feet, 0, n - 1).astype(int), xs.astype(int)]
    kinds = rng.choice(len(FLOWERS), 2, replace=False)
    picture = Image.fromarray(to_bytes(canvas))
    draw = ImageDraw.Draw(picture)
    for i in np.flatnonzero(drifts > rng.uniform(0.45, 0.6)):
        colour = np.array(FLOWERS[kinds[i % 2]]) * palette.light * palette.strength
        radius = n * (0.004 + 0.01 * near[i] ** 1.5)
        box = [xs[i] - radius, feet[i] - 0.8 * radius, xs[i] + radius, feet[i] + 0.8 * radius]
        draw.ellipse(box, fill=tuple(np.clip(colour * rng.uniform(0.8, 1.05), 0, 255).astype(int)))
    return np.asarray(picture, np.float32) / 255


def with_pines(canvas, palette, feet, height, rng, spots=None) -> np.ndarray:
    """`render.with_pines`, in light and colour as there, each on its own shadow."""
    n = len(canvas)
    heights = height * rng.uniform(0.7, 1.2, len(feet)) * n
    xs = rng.uniform(0, n, len(feet)) if spots is None else spots
    green = np.array([0.11, 0.27, 0.19]) * rng.uniform(0.7, 1.25, 3)
    green = mix(green, palette.horizon * 0.6, 0.18) * palette.strength * 255
    picture = Image.fromarray(to_bytes(canvas))
    draw = ImageDraw.Draw(picture)
    for i in np.argsort(feet):
        colour = green * rng.uniform(0.8, 1.15)
        draw_pine(draw, xs[i], feet[i], heights[i], tuple(colour.astype(int)))
        draw_needles(draw, (xs[i], feet[i], heights[i]), colour, rng)
    return np.asarray(picture, np.float32) / 255


def draw_needles(draw, tree, colour, rng):
    """Strokes over a pine, outwards and down, lighter on the left; as many as it has room for."""
    x, foot, height = tree
    count = int(np.clip(height * 0.25, 3, 20))
    ups, sides = rng.uniform(0.12, 0.95, count), rng.uniform(-1, 1, count)
    tones = np.where(sides < 0, 1.0, 0.65) * rng.uniform(0.85, 1.25, count)
    width = int(max(1, height / 40))
    for up, side, tone in zip(ups, sides, tones, strict=True):
        start = x + side * 0.25 * height * (1 - up), foot - up * height
        end = start[0] + np.sign(side) * 0.06 * height, start[1] + 0.06 * height
        draw.line([start, end], fill=tuple((colour * tone).astype(int)), width=width)


def main():
    parser = argparse.ArgumentParser(description="Draws landscapes in detail onto a sheet.")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0, help=f"held-out seeds start at {HELD_OUT}")
    parser.add_argument("--out", default="sheet.png")
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.count)
    images = [Image.fromarray(scene(seed, args.size)) for seed in seeds]
    contact_sheet([images[i : i + 4] for i in range(0, len(images), 4)]).save(args.out)


if __name__ == "__main__":
    main()
