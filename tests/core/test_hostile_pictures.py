"""Pictures that were made to break what opens them, or are not what their names say."""

import numpy as np
import pytest
from PIL import Image

from ilvr.image import open_image, picture_files, read_parameters

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """The file that a `gs` of the PATH leaves when it is started."""
    started, programs = tmp_path / "started", tmp_path / "bin"
    programs.mkdir()
    for name in ("gs", "gswin64c", "gswin32c"):
        (programs / name).write_text(f"#!/bin/sh\n: > {started}\necho 10.0\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # it looks once a process
    return started


@pytest.mark.parametrize("name", ["a.png", "a.eps", "a.jpg"])
def test_nothing_is_started_by_a_picture(tmp_path, ghostscript, name):
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(ValueError, match=f"{name} is damaged or no picture that can be read"):
        open_image(tmp_path / name)
    assert read_parameters(tmp_path / name) is None
    assert not ghostscript.exists()


def test_a_folder_holds_the_pictures_that_are_opened(tmp_path):
    for name in ("a.png", "b.JPG", "c.webp", "d.eps", "e.h5", "f.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in picture_files(tmp_path)] == ["a.png", "b.JPG", "c.webp"]


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp", "tif", "ppm", "tga", "jp2"])
def test_usual_formats_are_read(tmp_path, ending):
    Image.new("RGB", (20, 10), (200, 100, 50)).save(tmp_path / f"a.{ending}")
    colour = np.asarray(open_image(tmp_path / f"a.{ending}"), int)[5, 5]
    assert np.abs(colour - [200, 100, 50]).max() <= 3
