"""Files that are written whole or not at all, and never over what somebody else has written."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, replace: bool = True) -> Iterator[Path]:
    """A name to write to; the file becomes `path` once all of it is on the disk, else is gone.

    The name is nobody else's, however many write at once. replace: take the place of a file that
    is there; else FileExistsError, whoever made it and however late.
    """
    partial = path.with_name(f".ilvr-{secrets.token_hex(8)}.partial")
    try:
        partial.touch(exist_ok=False)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        (os.replace if replace else _claim)(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _claim(partial, path):
    """Gives a whole file a name that is free, in one step."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: an empty file holds the name for a moment
        path.touch(exist_ok=False)
        os.replace(partial, path)


def writable_folder(path: Path) -> Path:
    """The folder, made where it is not there. ValueError where nothing can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise ValueError(f"{path} can't be written to: {error.strerror}.") from None
