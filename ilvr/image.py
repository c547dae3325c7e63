"""Pictures: files <-> tensors in [-1, 1], masks, contact sheets."""

import contextlib
import glob
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin
from torch import Tensor

from .disk import whole

MAX_PIXELS = 100_000_000
FONTS = (  # with Chinese, Japanese and Korean, by the names of their files on Linux, Windows, macOS
    "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf",
    "msyh.ttc", "simhei.ttf", "meiryo.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf", "DejaVuSans.ttf", "arial.ttf",
)  # fmt: skip


def picture_files(folder: Path) -> list[Path]:
    """The files under a folder whose names end as those of pictures that can be read, sorted."""
    readable = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in readable]


def pictures(paths: Sequence[str | Path]) -> list[Path]:
    """The files, those of the folders, and those that names with * or ? stand for, sorted each.

    Raises ValueError where a name is of nothing.
    """
    return [file for path in paths for file in _pictures(Path(path))]


def _pictures(path):
    if path.is_dir():
        if not (files := picture_files(path)):
            raise ValueError(f"{path} holds no pictures; give a folder with PNG or JPEG files.")
        return files
    # A shell of Windows leaves names with * as they are.
    files = [path] if path.exists() else sorted(map(Path, glob.glob(str(path))))
    if not files:
        raise ValueError(f"{path}: there is no such picture or folder.")
    return files


def open_image(path: str | Path) -> Image.Image:
    """An upright RGB picture of any readable file: grey, 16-bit, CMYK and alpha (over white) too.

    Raises ValueError for a file that is missing, no picture, damaged, or over 100 megapixels.
    """
    return to_rgb(_open(path))


def to_rgb(image: Image.Image) -> Image.Image:
    """An upright RGB picture of any that pillow holds: grey, 16-bit, CMYK and alpha (over white)
    too."""
    image = _eight_bit(ImageOps.exif_transpose(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _open(path) -> Image.Image:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such picture.")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"{path} has {image.width} x {image.height} pixels; make it smaller than "
                    f"{MAX_PIXELS // 10**6} megapixels."
                )
            image.load()
            return _eight_bit(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError:
        raise ValueError(
            f"{path} has too many pixels; make it smaller than {MAX_PIXELS // 10**6} megapixels."
        ) from None
    except (OSError, SyntaxError):
        raise ValueError(f"{path} is damaged or no picture that can be read.") from None


def _eight_bit(image):
    if image.mode.startswith("I"):  # 16 bits a pixel
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    return image


def load_image(path: str | Path, size: int, channels: int = 3) -> Tensor:
    """(1, channels, size, size) in [-1, 1]: the picture, cropped around its centre and resampled;
    grey where `channels` is 1."""
    return to_tensor(fit(open_image(path), size, channels))


def load_mask(path: str | Path, size: int, like: str | Path) -> Tensor:
    """(1, 1, size, size) in [0, 1], white = 1 = follow: the mask of the reference file `like`.

    Raises ValueError unless the mask has the reference's size in pixels.
    """
    mask, reference = _open(path), _open(like)
    if mask.size != reference.size:
        raise ValueError(
            f"The mask {path} has {mask.width} x {mask.height} pixels and the reference {like} "
            f"{reference.width} x {reference.height}; give them one size."
        )
    return (to_tensor(fit(mask.convert("L"), size)) + 1) / 2


def fit(image: Image.Image, size: int, channels: int = 3) -> Image.Image:
    """The centre square, `size` pixels wide; grey where `channels` is 1."""
    image = image.convert("L") if channels == 1 else image
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def to_tensor(image: Image.Image) -> Tensor:
    """(1, channels, H, W) in [-1, 1]."""
    array = np.atleast_3d(np.asarray(image, dtype=np.float32))  # H W C
    return torch.from_numpy(array / 127.5 - 1).permute(2, 0, 1)[None].contiguous()


def to_images(x: Tensor) -> list[Image.Image]:
    """Pictures of (B, 3 or 1, H, W) in [-1, 1]; what lies outside is clamped."""
    array = ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture[..., 0] if x.shape[1] == 1 else picture) for picture in array]


def seen(x: Tensor) -> Tensor:
    """x (B, C, H, W) as its 8-bit picture shows it: clamped and rounded, in [-1, 1]."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def save_png(image: Image.Image, path: Path, parameters: dict):
    """Writes the picture, whole or not at all, with its parameters as JSON in its text."""
    info = PngImagePlugin.PngInfo()
    info.add_text("ilvr", json.dumps(parameters))
    with whole(path) as partial:
        image.save(partial, "PNG", pnginfo=info)


def read_parameters(path: str | Path) -> dict | None:
    """The parameters that `save_png` left in a file; None where there are none."""
    try:
        with Image.open(path) as image:
            return json.loads(image.info["ilvr"])
    except (OSError, KeyError, ValueError):
        return None


def unreadable(text: str) -> str:
    """Those characters of a text for which no font of this machine has a shape."""
    font = _font(text, 13)
    return "".join(dict.fromkeys(letter for letter in text if not _shaped(font, letter)))


def _font(text, size):
    """The first font with a shape for every letter, else the one with the most."""
    fonts = [ImageFont.load_default(size)]
    for name in () if text.isascii() else FONTS:
        with contextlib.suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
    return max(fonts, key=lambda font: sum(_shaped(font, letter) for letter in set(text)))


def _shaped(font, letter):
    """Whether it is drawn otherwise than a character that no font has."""
    if letter.isspace():
        return True
    return bytes(font.getmask(letter)) != bytes(font.getmask("\U0010fffe"))


def contact_sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    title: str = "",
    cell: int = 128,
) -> Image.Image:
    """One labelled picture of all: a label over each column and before each row, a title above.

    Pictures are shown `cell` pixels wide in the shape of the first one, small ones enlarged by
    bicubic resampling; one of another shape stands in the middle of its cell.
    """
    first = next(image for row in rows for image in row if image is not None)
    size = (cell, max(1, round(cell * first.height / first.width)))
    font, gap, line = _font("".join([title, *columns, *labels]), 13), 4, 20
    left = max((int(font.getlength(label)) for label in labels), default=0) + 2 * gap
    top = gap + line * (bool(title) + bool(columns))
    width = left + max(len(row) for row in rows) * (cell + gap)
    width = max(width, int(font.getlength(title)) + 2 * gap)
    sheet = Image.new("RGB", (width, top + len(rows) * (size[1] + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((gap, gap), title, "black", font)
    for i, name in enumerate(columns):
        centre = left + i * (cell + gap) + cell // 2
        draw.text((centre, top - line + 2), name, "black", font, anchor="ma")
    for j, row in enumerate(rows):
        y = top + j * (size[1] + gap)
        if j < len(labels):
            draw.text((left - gap, y + size[1] // 2), labels[j], "black", font, anchor="rm")
        for i, image in enumerate(row):
            if image is not None:
                shown = ImageOps.pad(image, size, Image.Resampling.BICUBIC, "white")
                sheet.paste(shown, (left + i * (cell + gap), y))
    return sheet
