"""Draws the example references of ilvr/assets/references/: `python -m training.references`."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training.render import HELD_OUT, render
from training.scenery import scene

FOLDER = Path(__file__).parents[1] / "ilvr" / "assets" / "references"
SIZE, FINE = 256, 4  # pixels of a drawn picture; how much finer it is drawn
LAKE, MEADOW, SUNSET, CALM, PEAKS = (HELD_OUT + i for i in (35, 78, 41, 17, 105))
SCENES = {"lake": 300_015, "meadow": 300_014, "sunset": 300_012}
SUNLIT_PEAKS = 300_005

PIXEL_COLOURS = {
    ".": (110, 186, 240),
    ",": (168, 214, 246),
    "O": (255, 226, 110),
    "w": (244, 248, 252),
    "r": (134, 128, 140),
    "d": (96, 92, 110),
    "g": (104, 164, 68),
    "f": (66, 124, 54),
    "p": (26, 74, 54),
}
PIXELS = """
................
..OO......www...
..OO....wwwww...
................
......w......www
,,,,,www,,,,,,,,
,,,,rwwrr,,,w,,,
,,,rrrrrd,,wwd,,
,,rrrrrddd,rrdd,
prrrrrdddrrrrddd
pggggggggggggpgg
pggggpgggggggpgg
pggggpggfggggpff
gffggpggggffggff
ggggffgggggggggg
fgggggggffgggggf
"""


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture in references().items():
        picture.save(FOLDER / f"{name}.png", optimize=True)


def references() -> dict[str, Image.Image]:
    masked, mask = with_hole(drawn(PEAKS))
    masked_scene, mask_scene = with_hole(detailed(SUNLIT_PEAKS))
    scenes = {f"scene-{name}": detailed(seed) for name, seed in SCENES.items()}
    return scenes | {
        "render-lake": drawn(LAKE),
        "render-meadow": drawn(MEADOW),
        "render-sunset": drawn(SUNSET),
        "clip-art": clip_art(),
        "clip-art-sunset": clip_art_sunset(),
        "scribble": scribble(),
        "pixel-art": pixel_art(),
        "masked-render": masked,
        "masked-scene": masked_scene,
        "mask": mask,
        "mask-scene": mask_scene,
    }


def drawn(seed) -> Image.Image:
    return Image.fromarray(render(seed))


def detailed(number) -> Image.Image:
    return Image.fromarray(scene(HELD_OUT + number))


class Drawing:
    """A flat picture drawn with coordinates from 0 to 100, fine first and then reduced."""

    def __init__(self, background):
        if isinstance(background, Image.Image):
            large = (SIZE * FINE, SIZE * FINE)
            self.image = background.resize(large, Image.Resampling.BICUBIC)
        else:
            self.image = Image.new("RGB", (SIZE * FINE, SIZE * FINE), background)
        self.draw = ImageDraw.Draw(self.image)
        self.scale = SIZE * FINE / 100

    def shape(self, colour, *points):
        self.draw.polygon([(x * self.scale, y * self.scale) for x, y in points], fill=colour)

    def band(self, colour, top, bottom):
        self.shape(colour, (0, top), (100, top), (100, bottom), (0, bottom))

    def disc(self, colour, x, y, radius):
        box = [(x - radius), (y - radius), (x + radius), (y + radius)]
        self.draw.ellipse([side * self.scale for side in box], fill=colour)

    def stroke(self, colour, width, points, rng):
        """A brush led by an unsteady hand along the points."""
        points = np.array(points, float)
        along = np.linspace(0, len(points) - 1, 30 * len(points))
        path = [np.interp(along, np.arange(len(points)), axis) for axis in points.T]
        tremble = np.cumsum(rng.normal(0, 0.12, (2, len(along))), axis=1)
        for x, y in (np.array(path) + tremble).T:
            self.disc(colour, x, y, width / 2 * rng.uniform(0.92, 1.08))

    def finished(self) -> Image.Image:
        return self.image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def clip_art() -> Image.Image:
    art = Drawing((98, 178, 240))
    art.disc((255, 224, 96), 76, 20, 10)
    for x, y in ((22, 22), (30, 18), (38, 22)):
        art.disc((250, 252, 255), x, y, 7)
    art.shape((134, 142, 166), (-12, 64), (24, 30), (58, 64))
    art.shape((248, 250, 255), (15.5, 38), (24, 30), (32.5, 38), (27, 42), (24, 39), (20, 42))
    art.shape((112, 120, 146), (34, 64), (68, 38), (108, 64))
    art.band((104, 174, 76), 62, 100)
    art.shape((82, 152, 62), (0, 84), (50, 76), (100, 90), (100, 100), (0, 100))
    return art.finished()


def clip_art_sunset() -> Image.Image:
    art = Drawing((98, 56, 132))
    for i, colour in enumerate([(150, 74, 140), (206, 104, 122), (244, 146, 104), (255, 184, 112)]):
        art.band(colour, 16 + 12 * i, 100)
    art.disc((255, 236, 160), 58, 46, 9)
    art.shape((122, 66, 104), (-10, 62), (20, 36), (54, 62))
    art.shape((92, 50, 92), (52, 62), (84, 30), (120, 62))
    art.band((110, 62, 128), 61, 100)
    art.shape((196, 118, 130), (50, 61), (66, 61), (72, 100), (44, 100))
    art.shape((38, 34, 60), (0, 86), (30, 92), (46, 100), (0, 100))
    return art.finished()


def scribble() -> Image.Image:
    """Brush strokes over a held-out landscape: a red sun, a cloud, a green bush."""
    rng = np.random.default_rng(2)
    art = Drawing(drawn(CALM))
    cloud = [
        (12, 20),
        (20, 11),
        (27, 19),
        (35, 9),
        (44, 19),
        (52, 13),
        (48, 23),
        (14, 25),
        (44, 26),
    ]
    art.stroke((255, 255, 255), 6, cloud, rng)
    sun = [(78, 13), (84, 17), (82, 24), (75, 24), (72, 18), (76, 13), (79, 18), (78, 21)]
    art.stroke((240, 84, 40), 6.5, sun, rng)
    bush = [(4, 96), (10, 80), (14, 96), (20, 76), (25, 96), (31, 84), (36, 97), (2, 99)]
    art.stroke((44, 132, 50), 8, bush, rng)
    return art.finished()


def pixel_art() -> Image.Image:
    rows = [[PIXEL_COLOURS[key] for key in row] for row in PIXELS.split()]
    small = Image.fromarray(np.array(rows, np.uint8))
    return small.resize((SIZE, SIZE), Image.Resampling.NEAREST)


def with_hole(picture) -> tuple[Image.Image, Image.Image]:
    """The picture with a grey ellipse in its middle, and the mask: white = follow, black = hole."""
    width, height = picture.size
    hole = [0.25 * width, 0.28 * height, 0.75 * width, 0.78 * height]
    mask = Image.new("L", picture.size, 255)
    ImageDraw.Draw(mask).ellipse(hole, fill=0)
    grey = Image.new("RGB", picture.size, (128, 128, 128))
    return Image.composite(picture, grey, mask), mask


if __name__ == "__main__":
    main()
