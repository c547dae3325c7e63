"""Pictures of three domains that the bundled model never saw, each drawn from a seed."""

import numpy as np
from PIL import Image

from training.references import Drawing
from training.render import HELD_OUT, PALETTES, ROCKS, render

FIRST = HELD_OUT + 40_000  # renders under the scribbles and behind the pixels


def clip_art(seed: int) -> Image.Image:
    """Flat shapes: a sky, a sun, clouds, two mountains, a meadow."""
    rng = np.random.default_rng(seed)
    palette = PALETTES[str(rng.choice(list(PALETTES)))]
    art = Drawing(palette.zenith)
    horizon = rng.uniform(50, 70)
    art.band(palette.horizon, horizon - rng.uniform(10, 25), 100)
    art.disc(palette.disc, rng.uniform(10, 90), rng.uniform(12, 30), rng.uniform(6, 11))
    for x, y in rng.uniform((5, 8), (95, 30), (rng.integers(2, 5), 2)):
        art.disc((250, 252, 255), x, y, rng.uniform(4, 8))
    for x in rng.uniform(0, 100, 2):
        bright, dark = ROCKS[rng.integers(len(ROCKS))]
        peak = horizon - rng.uniform(15, 40)
        art.shape(bright, (x - 40, horizon), (x, peak), (x + 40, horizon))
        art.shape(dark, (x, peak), (x + 40, horizon), (x + 8, horizon))
    green = rng.integers((60, 120, 40), (140, 190, 100))
    art.band(tuple(green), horizon, 100)
    art.shape(
        tuple(green * 3 // 4), (0, 86), (50, rng.uniform(72, 84)), (100, 92), (100, 100), (0, 100)
    )
    return art.finished()


def pixel_art(seed: int) -> Image.Image:
    """A landscape in 16 x 16 pixels of nine colours."""
    small = Image.fromarray(render(FIRST + seed)).resize((16, 16), Image.Resampling.BOX)
    flat = small.quantize(9, dither=Image.Dither.NONE).convert("RGB")
    return flat.resize((256, 256), Image.Resampling.NEAREST)


def scribble(seed: int) -> Image.Image:
    """Three thick, unsteady strokes over a landscape."""
    rng = np.random.default_rng(seed)
    art = Drawing(Image.fromarray(render(FIRST + seed)))
    for colour in ((255, 255, 255), (240, 84, 40), (44, 132, 50)):
        corner = rng.uniform((5, 5), (65, 75))
        points = corner + rng.uniform(0, 1, (7, 2)) * (30, 20)
        art.stroke(colour, rng.uniform(5, 9), points, rng)
    return art.finished()
