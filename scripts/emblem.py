"""The pack's icon and banner in the registry: landscapes whose left part is its low frequencies.

python -m scripts.emblem    # draws docs/icon.png and docs/banner.png
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from training.render import render

DOCS = Path(__file__).parents[1] / "docs"
LEAN = 0.25  # of the seam, to the right, as a share of the height
SMOOTH = 4  # times larger, the seam is drawn before it is reduced
TITLE, LINES = "ILVR", ("keep colours and layout,", "renew the rest")


def landscape(seed: int, size: int) -> Image.Image:
    """A render, mirrored for the finest part to lie right of the seam, and in stronger colours."""
    mirrored = ImageOps.mirror(Image.fromarray(render(seed, size)))
    return ImageEnhance.Color(mirrored).enhance(1.3)


def refined(picture: Image.Image, block: int, seam: float, width: float) -> Image.Image:
    """The picture, but blocks of its mean colours left of a white seam `width` wide.

    The seam crosses the middle row at `seam`; both are shares of the picture's width.
    """
    blocks = picture.reduce(block).resize(picture.size, Image.Resampling.NEAREST)
    whole = Image.composite(blocks, picture, strip(picture.size, -1, seam))
    whole.paste("white", mask=strip(picture.size, seam - width / 2, seam + width / 2))
    return whole


def strip(size, left: float, right: float) -> Image.Image:
    """The mask of what lies between two slanted lines."""
    w, h = (side * SMOOTH for side in size)
    top, bottom = h * LEAN / 2, -h * LEAN / 2
    corners = [(left * w + top, 0), (right * w + top, 0)]
    corners += [(right * w + bottom, h), (left * w + bottom, h)]
    mask = Image.new("L", (w, h))
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    return mask.reduce(SMOOTH)


def icon() -> Image.Image:
    return refined(landscape(74, 800).reduce(2), 40, seam=0.5, width=0.016)


def banner() -> Image.Image:
    """21:9."""
    picture = refined(landscape(60, 1344).crop((0, 0, 1344, 576)), 96, seam=0.5, width=0.006)
    draw = ImageDraw.Draw(picture)
    write(draw, (70, 300), TITLE, 196, bold=5)
    for i, line in enumerate(LINES):
        write(draw, (82, 382 + 60 * i), line, 46, bold=1)
    return picture


def write(draw, foot, text, size, bold):
    font = ImageFont.load_default(size)
    draw.text(foot, text, "white", font, anchor="ls", stroke_width=bold)


def main():
    for name, draw in (("icon", icon), ("banner", banner)):
        file = DOCS / f"{name}.png"
        draw().save(file, optimize=True)
        print(file.name, file.stat().st_size)


if __name__ == "__main__":
    main()
