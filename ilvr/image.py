"""Pictures: files <-> tensors in [-1, 1], masks, contact sheets."""

import contextlib
import glob
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin
from torch import Tensor

from . import kinds
from .disk import whole
from .values import finite, parsed, path_of, printable

MAX_PIXELS = 100_000_000
FORMATS = (  # that are opened; some of Pillow's others start programs
    "PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000",
)  # fmt: skip
SIZE = kinds.whole(1, 16384)
FONTS = (  # with Chinese, Japanese and Korean, by the names of their files on Linux, Windows, macOS
    "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf",
    "msyh.ttc", "simhei.ttf", "meiryo.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf", "DejaVuSans.ttf", "arial.ttf",
)  # fmt: skip


def picture_files(folder: Path) -> list[Path]:
    """The files under a folder whose names end as those of pictures that can be read, sorted."""
    formats = _formats()
    readable = {end for end, kind in Image.registered_extensions().items() if kind in formats}
    files = sorted(folder.rglob("*"))
    return [file for file in files if file.suffix.lower() in readable and file.is_file()]


def pictures(paths: Sequence[str | Path]) -> list[Path]:
    """The files, those of the folders, and those that names with * or ? stand for, sorted each.

    Raises ValueError where a name is of nothing.
    """
    return [file for path in paths for file in _pictures(path_of(path))]


def _pictures(path):
    if path.is_dir():
        if not (files := picture_files(path)):
            raise ValueError(f"{path} holds no pictures; give a folder with PNG or JPEG files.")
        return files
    # A shell of Windows leaves names with * as they are.
    files = [path] if os.path.exists(path) else sorted(map(Path, glob.glob(str(path))))
    if not files:
        raise ValueError(f"{path}: there is no such picture or folder.")
    return files


def open_image(path: str | Path) -> Image.Image:
    """An upright RGB picture of any readable file: grey, 16-bit, CMYK and alpha (over white) too.

    Raises ValueError for a file that is missing, no picture, damaged, or over 100 megapixels, and
    for pixels of more than 16 bits, whose black and white nothing tells.
    """
    return _opened(path, _opaque)


def to_rgb(image: Image.Image) -> Image.Image:
    """An upright RGB picture of any that Pillow holds, as `open_image` makes it of a file."""
    try:
        return _opaque(_eight_bit(ImageOps.exif_transpose(image)))
    except _Depth as error:
        raise ValueError(f"The picture has {error}; give it 8 or 16 bits a channel.") from None


def _opened(path, use) -> Image.Image:
    """What `use` makes of the picture, upright and with 8 bits a channel."""
    path = path_of(path)
    if not os.path.isfile(path):  # which a name that is too long is not either
        raise ValueError(f"{path}: there is no such picture.")
    try:
        with _quiet(), Image.open(path, formats=_formats()) as image:
            if image.width * image.height <= MAX_PIXELS:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return use(_eight_bit(image))
    except Image.DecompressionBombError:
        pass
    except _Depth as error:
        raise ValueError(f"{path} has {error}; save it with 8 or 16 bits a channel.") from None
    except PermissionError:
        raise ValueError(f"{path} may not be read; give yourself the permission.") from None
    except MemoryError:
        raise ValueError(f"{path} needs more memory than there is; make it smaller.") from None
    except Exception:  # whatever a decoder may raise at a file of unknown content
        raise ValueError(f"{path} is damaged or no picture that can be read.") from None
    most = f"{MAX_PIXELS // 10**6} megapixels"
    raise ValueError(f"{path} has too many pixels; make it smaller than {most}.")


def _formats():
    """Those of `FORMATS` that this Pillow has."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@contextlib.contextmanager
def _quiet():
    """Without Pillow's warnings: what it doubts is either refused or good enough."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _opaque(image, paper="white"):
    if image.has_transparency_data:
        image = image.convert("RGBA")
        below = Image.new("RGB", image.size, paper)
        below.paste(image, mask=image)
        return below
    return image if image.mode == "RGB" else image.convert("RGB")


class _Depth(ValueError):
    """Of pixels whose black and white nothing tells."""


def _eight_bit(image):
    if image.mode == "F":
        raise _Depth("pixels that are floating-point numbers")
    if not image.mode.startswith("I"):
        return image
    array = np.asarray(image)  # of 16 bits, else of 32
    if array.min() < 0 or array.max() > 65535:
        raise _Depth("pixels of more than 16 bits")
    grey = Image.fromarray((array / 257).round().astype(np.uint8))
    if (clear := image.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray(array != clear).convert("L"))
    return grey


def load_image(path: str | Path, size: int, channels: int = 3) -> Tensor:
    """(1, channels, size, size) in [-1, 1]: the picture, cropped around its centre and resampled;
    grey where `channels` is 1."""
    SIZE.of("size", size)
    if not (isinstance(channels, int) and channels in (1, 3)):
        raise ValueError(f"channels = {channels!r}; 1 of a grey picture or 3 of RGB are needed.")
    return to_tensor(fit(open_image(path), size, channels))


def load_mask(path: str | Path, size: int, like: str | Path) -> Tensor:
    """(1, 1, size, size) in [0, 1], white = 1 = follow: the mask of the reference file `like`.

    What is transparent counts as black.
    Raises ValueError unless the mask has the reference's size in pixels.
    """
    SIZE.of("size", size)
    mask = _opened(path, lambda image: _opaque(image, "black")).convert("L")
    width, height = open_image(like).size
    if mask.size != (width, height):
        raise ValueError(
            f"The mask {path} has {mask.width} x {mask.height} pixels and the reference {like} "
            f"{width} x {height}; give them one size."
        )
    return (to_tensor(fit(mask, size)) + 1) / 2


def fit(image: Image.Image, size: int, channels: int = 3) -> Image.Image:
    """The centre square, `size` pixels wide; grey where `channels` is 1."""
    image = image.convert("L") if channels == 1 else image
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def to_tensor(image: Image.Image) -> Tensor:
    """(1, channels, H, W) in [-1, 1]."""
    array = np.atleast_3d(np.asarray(image, dtype=np.float32))  # H W C
    return torch.from_numpy(array / 127.5 - 1).permute(2, 0, 1)[None].contiguous()


def to_images(x: Tensor) -> list[Image.Image]:
    """Pictures of (B, 3 or 1, H, W) in [-1, 1]; what lies outside is clamped.

    Raises ValueError for what is no such tensor, or has values that are not finite.
    """
    x = finite(x, "The image", axes=4)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"The image has the shape {tuple(x.shape)}; (B, 3 or 1, H, W) is needed.")
    array = ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture[..., 0] if x.shape[1] == 1 else picture) for picture in array]


def seen(x: Tensor) -> Tensor:
    """x (B, C, H, W) as its 8-bit picture shows it: clamped and rounded, in [-1, 1]."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def save_png(image: Image.Image, path: Path, parameters: dict, replace: bool = True):
    """Writes the picture, whole or not at all, with its parameters as JSON in its text.

    replace: as for `disk.whole`.
    """
    info = PngImagePlugin.PngInfo()
    info.add_text("ilvr", json.dumps(parameters))
    with whole(path, replace) as partial:
        image.save(partial, "PNG", pnginfo=info)


def save_beside(image: Image.Image, path: Path, parameters: dict) -> Path:
    """Writes the picture, under a name with a number behind it where the file `path` is there and
    is none of the same parameters. Gives the file written."""
    file, number = path, 1
    while True:
        same = read_parameters(file) == parameters
        if same or not os.path.lexists(file):
            with contextlib.suppress(FileExistsError):  # somebody else was faster: look again
                save_png(image, file, parameters, replace=same)
                return file
        else:
            number += 1
            file = path.with_stem(f"{path.stem}-{number}")


def read_parameters(path: str | Path) -> dict | None:
    """The parameters that `save_png` left in a file; None where there are none."""
    if not os.path.isfile(path):
        return None
    try:
        with _quiet(), Image.open(path, formats=["PNG"]) as image:
            return parsed(image.info["ilvr"])
    except Exception:  # whatever a file of unknown content may raise
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
    cell: int | None = None,
) -> Image.Image:
    """One labelled picture of all: a label over each column and before each row, a title above.

    Pictures are shown `cell` pixels wide, by default as the first one is, from 128 to 256, in its
    shape; small ones are enlarged by bicubic resampling, and one of another shape stands in the
    middle of its cell.
    """
    first = next((image for row in rows for image in row if image is not None), None)
    if first is None:
        raise ValueError("The sheet has no pictures; give it a row with one or more.")
    columns, labels, title = [*map(printable, columns)], [*map(printable, labels)], printable(title)
    cell = cell or min(max(first.width, 128), 256)
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
