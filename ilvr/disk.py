"""Files that are written whole or not at all, and never over what somebody else has written."""

import contextlib
import errno
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

WINDOWS = sys.platform == "win32"
PARTIAL = ".ilvr-{}.partial"  # what is not whole yet


@contextmanager
def whole(path: Path, replace: bool = True) -> Iterator[Path]:
    """A name to write to; the file becomes `path` once all of it is on the disk, else is gone.

    The name is nobody else's, however many write at once. replace: take the place of a file that
    is there; else FileExistsError, whoever made it and however late.
    """
    partial, own = _partial(path.parent)
    try:
        with own:  # locked until all is done
            mode = partial.stat().st_mode
            yield partial
            with partial.open("rb+") as file:
                with contextlib.suppress(OSError):  # some writers put a file of their own there
                    _lock(file)
                os.fsync(file.fileno())
                partial.chmod(mode)
                if not WINDOWS:
                    (os.replace if replace else _claim)(partial, path)
        if WINDOWS:  # where what is open can't be moved
            (os.replace if replace else _claim)(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _partial(folder):
    """(the name of a new file, the file with its lock); on Windows, where others could not write
    into it, without."""
    while True:
        path = folder / PARTIAL.format(secrets.token_hex(8))
        file = path.open("xb")
        if WINDOWS:
            file.close()
            return path, file
        try:
            _lock(file)
        except BlockingIOError:  # `clear` was faster
            file.close()
            continue
        except OSError:  # a file system without locks
            return path, file
        if os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()


def clear(folder: Path, below: bool = False):
    """Removes what processes that were killed have left half written in a folder."""
    if WINDOWS:
        return
    for path in (folder.rglob if below else folder.glob)(PARTIAL.format("[0-9a-f]" * 16)):
        with contextlib.suppress(OSError):  # whoever writes it has its lock
            if stat.S_ISREG(path.lstat().st_mode):
                with path.open("rb+") as file:
                    _lock(file)
                    path.unlink()


def _lock(file):
    """BlockingIOError or PermissionError where another has it; OSError where there are no locks."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _claim(partial, path):
    """Gives a whole file a name that is free, in one step."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: an empty file holds the name for a moment
        path.touch(exist_ok=False)
        os.replace(partial, path)


def check_target(path: Path):
    """ValueError where a file of that name could not be made, before any work is done for it."""
    try:
        path.parent.stat()
        path.lstat()
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    except OSError as error:
        if not isinstance(error, FileNotFoundError) or error.filename != str(path):
            raise ValueError(f"{path} could not be written: {error.strerror}.") from None


def locked(path: Path) -> IO:
    """An open file that is ours alone, until it is closed or this process ends, however it ends.

    What was left half written beside it and below is removed. Raises ValueError where another
    process has it.
    """
    file = path.open("ab")
    try:
        _lock(file)
    except OSError:
        file.close()
        raise ValueError(f"Another command is writing into {path.parent}; wait for it.") from None
    clear(path.parent, below=True)
    return file


def writable_folder(path: Path) -> Path:
    """The folder, made where it is not there. ValueError where nothing can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise ValueError(f"{path} can't be written to: {error.strerror}.") from None
