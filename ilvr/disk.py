"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to; the file becomes `path` once all of it is on the disk, else is gone."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def writable_folder(path: Path) -> Path:
    """The folder, made where it is not there. ValueError where nothing can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".ilvr-writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"{path} can't be written to: {error.strerror}.") from None
    return path
