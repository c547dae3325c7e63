"""Landscapes drawn from a seed in numpy and Pillow: `python -m training.render --out sheet.png`.

Every function draws on a float32 canvas (n, n, 3) in [0, 1], y downwards, lengths as shares of n.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ilvr import contact_sheet

HELD_OUT = 10_000_000  # training draws seeds 0, 1, ...; held-out pictures start here


@dataclass(frozen=True)
class Palette:
    """Sky at the zenith and at the horizon, colour and strength of the light, the sun's disc."""

    zenith: tuple
    horizon: tuple
    light: tuple
    strength: float
    disc: tuple


PALETTES = {
    "noon": Palette((38, 118, 205), (205, 230, 232), (255, 250, 236), 1.0, (255, 244, 190)),
    "sunset": Palette((66, 38, 122), (255, 168, 104), (255, 196, 142), 0.86, (255, 236, 168)),
    "dawn": Palette((104, 78, 158), (246, 196, 190), (250, 208, 206), 0.88, (255, 240, 206)),
    "night": Palette((18, 20, 64), (92, 80, 146), (166, 166, 218), 0.74, (246, 244, 214)),
    "overcast": Palette((128, 142, 172), (206, 210, 214), (226, 230, 238), 0.86, (250, 240, 204)),
    "pale": Palette((104, 158, 178), (242, 232, 202), (255, 244, 222), 0.95, (255, 242, 176)),
}
ROCKS = [
    ((112, 92, 76), (66, 54, 48)),
    ((186, 150, 104), (126, 96, 70)),
    ((142, 142, 148), (82, 84, 94)),
    ((92, 122, 58), (46, 72, 38)),
    ((70, 108, 80), (38, 66, 54)),
    ((126, 118, 62), (76, 70, 40)),
]
MEADOWS = [
    ((106, 152, 56), (44, 92, 30)),
    ((78, 132, 82), (24, 72, 46)),
    ((206, 172, 88), (134, 98, 34)),
    ((152, 148, 124), (78, 74, 62)),
    ((238, 242, 248), (166, 178, 200)),
]


def render(seed: int, size: int = 64) -> np.ndarray:
    """A landscape, (size, size, 3) uint8: drawn at 1.5 times the size, reduced with Lanczos."""
    rng = np.random.default_rng(seed)
    n = size * 3 // 2
    palette = jittered(PALETTES[str(rng.choice(list(PALETTES)))], rng)
    horizon = int(n * rng.uniform(0.4, 0.7))
    canvas = sky(palette, n, horizon)
    sun_x = rng.uniform(0.1, 0.9)
    if rng.random() < 0.6:
        add_sun(canvas, palette, sun_x, rng.uniform(0.08, horizon / n - 0.06), rng)
    add_clouds(canvas, palette, horizon, rng)
    add_ridges(canvas, palette, horizon, sun_x, rng)
    pines = rng.random() < 0.5
    if rng.random() < 0.55:
        canvas = with_lake(canvas, palette, horizon, pines, rng)
    else:
        canvas = with_meadow(canvas, palette, horizon, pines, rng)
    picture = Image.fromarray(to_bytes(canvas)).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def jittered(palette, rng) -> Palette:
    """The palette in [0, 1], its sky and light moved a little."""

    def move(colour):
        return np.clip(np.array(colour) / 255 + rng.normal(0, 0.03, 3), 0, 1).astype(np.float32)

    strength = palette.strength * rng.uniform(0.92, 1.05)
    disc = np.array(palette.disc, np.float32) / 255
    return Palette(move(palette.zenith), move(palette.horizon), move(palette.light), strength, disc)


def sky(palette, n, horizon) -> np.ndarray:
    share = np.clip(np.arange(n) / horizon, 0, 1)[:, None, None] ** 1.15
    return np.broadcast_to(mix(palette.zenith, palette.horizon, share), (n, n, 3)).astype(
        np.float32
    )


def add_sun(canvas, palette, x, y, rng):
    """The disc and its glow, which falls off exponentially."""
    radius = rng.uniform(0.025, 0.06)
    ys, xs = np.mgrid[0 : 1 : 1j * len(canvas), 0 : 1 : 1j * len(canvas)].astype(np.float32)
    distance = np.hypot(xs - x, ys - y)[..., None]
    glow = 0.75 * np.exp(-np.maximum(distance - radius, 0) / (2.2 * radius))
    canvas[:] = mix(canvas, palette.disc, 0.7 * glow)
    canvas[:] = mix(canvas, palette.disc, smoothstep((radius - distance) * len(canvas) / 2 + 0.5))


def add_clouds(canvas, palette, horizon, rng):
    """Fractal noise above a threshold, lit from above, fading towards the horizon."""
    n = len(canvas)
    density = noise(rng, n, n, cells=rng.uniform(1.5, 3), stretch=rng.uniform(1.5, 3))
    threshold = rng.uniform(0.48, 0.72)
    fade = np.clip(1 - np.arange(n) / horizon, 0, 1)[:, None] ** 0.6
    alpha = smoothstep((density - threshold) / 0.22) * fade * rng.uniform(0.6, 0.95)
    lit = np.clip(0.6 + 6 * (density - np.roll(density, max(1, n // 32), axis=0)), 0, 1)
    bright = mix(palette.horizon, palette.light, 0.6) * (0.45 + 0.57 * palette.strength**2)
    dark = mix(palette.zenith, bright, 0.6)
    canvas[:] = mix(canvas, mix(dark, bright, lit[..., None]), alpha[..., None])


def add_ridges(canvas, palette, horizon, sun_x, rng):
    """One to three ridges, from the far and hazy one to the near one."""
    count = rng.integers(1, 4)
    for i in range(count):
        nearness = (i + 1) / count
        height = rng.uniform(0.14, 0.6) * (1.15 - 0.55 * nearness) * horizon / len(canvas) * 2
        haze = (1 - nearness) * rng.uniform(0.45, 0.75) + rng.uniform(0.03, 0.18)
        add_ridge(canvas, palette, horizon, height, haze, sun_x, rng)


def add_ridge(canvas, palette, horizon, height, haze, sun_x, rng):
    """A fractal outline over the horizon, rock in two colours, perhaps snow, then the air."""
    n = len(canvas)
    top = horizon - n * height * outline(rng, n)  # (n,) rows
    depth = (np.arange(n)[:, None] - top) / n
    lit = relief(rng, top, depth, sun_x)
    bright, dark = (np.array(colour) / 255 for colour in ROCKS[rng.integers(len(ROCKS))])
    rock = mix(dark, bright, np.clip(lit + 0.5 * (noise(rng, n, n, 6) - 0.5), 0, 1)[..., None])
    if height > 0.2 and rng.random() < 0.5:
        rock = mix(rock, mix([0.62, 0.68, 0.8], [1, 1, 1], lit[..., None]), snow(rng, top, n))
    rock = rock * mix([1, 1, 1], palette.light, 0.8) * palette.strength
    mist = haze + (1 - haze) * 0.3 * smoothstep(1 - (horizon - np.arange(n)) / (0.1 * n))
    rock = mix(rock, palette.horizon, mist[:, None, None])
    inside = np.clip(depth * n + 0.5, 0, 1)[..., None] * (np.arange(n) < horizon)[:, None, None]
    canvas[:] = mix(canvas, rock, inside)


def outline(rng, n) -> np.ndarray:
    """(n,) heights in about [0, 1]: folded noise for peaks, plain noise for the lie of the land."""
    peaks = 1 - np.abs(2 * noise(rng, 1, n, cells=rng.uniform(1.5, 4))[0] - 1)
    land = noise(rng, 1, n, cells=rng.uniform(1, 2.5))[0]
    shape = 0.65 * peaks ** rng.uniform(1, 2) + 0.7 * (land - 0.25)
    return np.clip(shape, 0.02, 1)


def relief(rng, top, depth, sun_x) -> np.ndarray:
    """(n, n) light in [0, 1]: the outline's slope below it, and facets of folded noise, sheared."""
    n = len(top)
    folds = 1 - np.abs(2 * noise(rng, n, 2 * n, 7) - 1)
    lean = rng.choice([-1, 1]) * rng.uniform(0.3, 0.8)
    columns = (np.arange(n) + n // 2 + lean * np.clip(depth, 0, 0.6) * n).astype(int)
    facets = np.take_along_axis(np.roll(folds, 2, axis=1) - folds, columns, axis=1)
    smooth = np.convolve(np.pad(top, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    slope = np.gradient(smooth) * np.exp(-np.clip(depth, 0, 1) / 0.15)
    side = 1 if sun_x > 0.5 else -1
    return np.clip(0.5 + side * (2 * facets + 0.35 * slope), 0, 1)


def snow(rng, top, n) -> np.ndarray:
    """(n, n, 1) coverage: above a ragged snow line between the highest peak and the lowest."""
    line = top.min() + rng.uniform(0.2, 0.6) * (top.max() - top.min())
    ragged = line + 0.2 * n * (noise(rng, n, n, 10) - 0.5)
    return smoothstep((ragged - np.arange(n)[:, None]) / (0.03 * n) + 0.5)[..., None] * 0.95


def with_lake(canvas, palette, horizon, pines, rng) -> np.ndarray:
    """The picture above, mirrored with rippled rows and tinted with depth; pines on the shore."""
    n = len(canvas)
    if pines:
        feet = horizon - rng.uniform(0, 0.01, rng.integers(3, 12)) * n
        canvas = with_pines(canvas, palette, feet, rng.uniform(0.05, 0.09), rng)
    below = np.arange(n - horizon)
    rows = np.clip(horizon - 1 - below * rng.uniform(0.85, 1), 0, n - 1).astype(int)
    shifts = (below / n * rng.normal(0, 0.05, n - horizon) + rng.normal(0, 0.004)) * n
    columns = np.clip(np.arange(n) + shifts[:, None].round().astype(int), 0, n - 1)
    water = mix(palette.zenith, palette.horizon, 0.25) * 0.8
    tint = 0.15 + 0.6 * (below / (n - horizon)) ** 0.8
    ripples = noise(rng, n - horizon, n, 3, stretch=8) - 0.5
    lake = mix(canvas[rows[:, None], columns], water, tint[:, None, None])
    lake = lake + 0.16 * ripples[..., None] * palette.strength
    canvas[horizon:] = lake
    if pines and rng.random() < 0.5:
        return with_bank(canvas, palette, rng)
    return canvas


def with_bank(canvas, palette, rng) -> np.ndarray:
    """A dark near shore in one of the lower corners, with large pines."""
    n = len(canvas)
    fall = np.linspace(0, rng.uniform(1.5, 2.5), n)[:: rng.choice([-1, 1])]
    top = n * (1 - 0.2 * np.clip(1 - fall, 0, 1) - 0.03 * noise(rng, 1, n, 5)[0] * (fall < 1))
    inside = np.clip(np.arange(n)[:, None] - top + 0.5, 0, 1)[..., None]
    canvas = mix(canvas, ground(canvas, palette, 0, rng) * 0.55, inside)
    spots = rng.choice(np.flatnonzero(fall < 0.7), rng.integers(2, 5))
    return with_pines(canvas, palette, top[spots] + 0.03 * n, 0.26, rng, spots)


def with_meadow(canvas, palette, horizon, pines, rng) -> np.ndarray:
    n = len(canvas)
    canvas[horizon:] = ground(canvas, palette, horizon, rng)[horizon:]
    if not pines:
        return canvas
    nearness = rng.uniform(0.02, 0.75, rng.integers(3, 14)) ** 1.5
    feet = horizon + nearness * (n - horizon)
    return with_pines(canvas, palette, feet, 0.07 + 0.3 * nearness, rng)


def ground(canvas, palette, horizon, rng) -> np.ndarray:
    """(n, n, 3) turf below the horizon: noise seen in perspective, two colours, hazy far away."""
    n = len(canvas)
    bright, dark = (np.array(colour) / 255 for colour in MEADOWS[rng.integers(len(MEADOWS))])
    near = np.clip((np.arange(n) - horizon) / (n - horizon), 0, 1)
    rows = ((1 - 1 / (1 + 4 * near)) * (n - 1)).astype(int)
    turf = noise(rng, n, n, 5, stretch=2.5)[rows] - 0.5
    lit = np.clip(0.7 - 0.35 * near[:, None] + 1.5 * turf, 0, 1)[..., None]
    colour = mix(dark, bright, lit) * mix([1, 1, 1], palette.light, 0.8) * palette.strength
    return mix(colour, palette.horizon, 0.35 * np.exp(-near * 8)[:, None, None])


def with_pines(canvas, palette, feet, height, rng, spots=None) -> np.ndarray:
    """Pines with their feet on rows `feet` (m,), about `height` tall (one or m), far ones first."""
    n = len(canvas)
    picture = Image.fromarray(to_bytes(canvas))
    draw = ImageDraw.Draw(picture)
    heights = height * rng.uniform(0.7, 1.2, len(feet)) * n
    xs = rng.uniform(0, n, len(feet)) if spots is None else spots
    green = np.array([0.11, 0.27, 0.19]) * rng.uniform(0.7, 1.25, 3)
    green = mix(green, palette.horizon * 0.6, 0.18) * palette.strength * 255
    for i in np.argsort(feet):
        draw_pine(
            draw, xs[i], feet[i], heights[i], tuple((green * rng.uniform(0.8, 1.15)).astype(int))
        )
    return np.asarray(picture, np.float32) / 255


def draw_pine(draw, x, foot, height, colour):
    """A trunk and four tiers, the right halves in shade."""
    shade = tuple(int(0.65 * part) for part in colour)
    width = 0.25 * height
    draw.rectangle([x - height * 0.03, foot - 0.15 * height, x + height * 0.03, foot], fill=shade)
    for tier in range(4):
        low = foot - height * (0.1 + 0.22 * tier)
        high, half = low - height * (0.36 - 0.03 * tier), width * (1 - 0.22 * tier)
        draw.polygon([(x - half, low), (x, high), (x + half, low)], fill=colour)
        draw.polygon([(x, low), (x, high), (x + half, low)], fill=shade)


def noise(rng, height, width, cells, octaves=5, stretch=1.0) -> np.ndarray:
    """(height, width) value noise in about [0, 1], mean 0.5: `cells` across, doubled each octave.

    Cells are `stretch` times wider than high.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        across = cells * 2**octave
        down = across * stretch * height / width
        grid = rng.random((int(down) + 4, int(across) + 4), dtype=np.float32)
        x, y = rng.uniform(1, 2, 2)
        box = (x, y, x + across, y + down)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=box)
        total += np.asarray(layer) * 0.5**octave
    mean = 1 - 0.5**octaves
    return np.clip((total - mean) / (2 * mean) * 1.6 + 0.5, 0, 1)


def mix(a, b, share):
    return np.asarray(a) * (1 - share) + np.asarray(b) * share


def smoothstep(x):
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def to_bytes(canvas) -> np.ndarray:
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description="Draws landscapes onto a contact sheet.")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help=f"held-out seeds start at {HELD_OUT}")
    parser.add_argument("--out", default="sheet.png")
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.count)
    images = [Image.fromarray(render(seed, args.size)) for seed in seeds]
    rows = [images[i : i + 8] for i in range(0, len(images), 8)]
    contact_sheet(rows).save(args.out)


if __name__ == "__main__":
    main()
