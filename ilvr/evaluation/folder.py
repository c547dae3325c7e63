"""Results on the disk: each whole or not at all, and all of one evaluation."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..disk import locked, whole, writable_folder
from ..image import save_png
from ..values import parsed
from .plan import Setting, Task, Unit
from .work import Result

SETTINGS, LOCK = "settings.json", ".ilvr-lock"
TABLES = ("results.json", "results.csv", "results.md", "times.json")
WRITTEN = (*TABLES, "figure.png", "sheet.png", "units", "images")


class Folder:
    """The output folder of a task. One command at a time writes into it.

    units/SETTING/FIRST-LAST.npz holds a unit's result, images/SETTING/ the pictures kept.
    Raises ValueError for a folder that can't be written to, is written to by another command, or
    holds an evaluation with other settings, which it names, or files of somebody else.
    """

    def __init__(self, task: Task):
        self.path = writable_folder(task.options.out)
        self._refuse_strangers()
        self._lock = locked(self.path / LOCK)
        known = self._settings()
        if known is None:
            wanted = {"settings": task.fingerprint, "threads": task.threads}
            self.save(SETTINGS, json.dumps(wanted, indent=1, default=str) + "\n")
        else:
            self._refuse_others(known["settings"], json.loads(json.dumps(task.fingerprint)))
            task.threads = known["threads"]  # the sums of floats depend on them

    def _refuse_strangers(self):
        """ValueError where names that an evaluation takes are there, and are of none."""
        there = [name for name in WRITTEN if os.path.lexists(self.path / name)]
        if there and not os.path.lexists(self.path / SETTINGS):
            raise ValueError(
                f"{self.path} holds {there[0]} of something else, and no {SETTINGS} of an "
                f"evaluation; give another --out."
            )

    def _settings(self):
        try:
            known = parsed((self.path / SETTINGS).read_text("utf-8"))
            if isinstance(known["settings"], dict) and 0 < known["threads"] <= 4096:
                return known
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            pass
        raise ValueError(
            f"{self.path / SETTINGS} is damaged or of something else; give another --out."
        )

    def _refuse_others(self, known, wanted):
        names = sorted(name for name in wanted if known.get(name) != wanted[name])
        if names:
            other = "; ".join(f"{n}: {known.get(n)} there, {wanted[n]} here" for n in names)
            raise ValueError(
                f"{self.path} holds an evaluation with other settings ({other}); give another "
                f"--out, or the settings of {self.path / SETTINGS}."
            )

    def __contains__(self, unit: Unit) -> bool:
        return self._file(unit).exists()

    def write(self, unit: Unit, result: Result) -> None:
        """OSError where the disk is full; then the unit is not there, and others stay."""
        for name, image, parameters in result.images:
            path = self.image(unit.setting, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(image, path, parameters)
        arrays: dict[str, Any] = {"skipped": np.array(json.dumps(result.skipped)), **result.arrays}
        write_whole(self._file(unit), lambda file: np.savez(file, **arrays))

    def read(self, unit: Unit) -> dict[str, np.ndarray]:
        """What `write` was given, with `skipped` as a list of (reference, why)."""
        path = self._file(unit)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} can't be read ({error}); delete it and run the same command again."
            ) from None
        arrays["skipped"] = json.loads(str(arrays["skipped"]))
        return arrays

    def image(self, setting: Setting, name: str) -> Path:
        return self.path / "images" / setting.name / f"{name}.png"

    def save(self, name: str, text: str) -> None:
        """Writes a text file; ValueError where it can't be written."""
        try:
            write_whole(
                self.path / name, lambda file: file.write(text.encode(errors="backslashreplace"))
            )
        except OSError as error:
            raise ValueError(
                f"{self.path / name} can't be written ({error.strerror}); make room and run the "
                f"same command again."
            ) from None

    def _file(self, unit):
        return self.path / "units" / f"{unit.name}.npz"


def write_whole(path: Path, write) -> None:
    """Calls `write(file)`; the file is under its name once all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, partial.open("wb") as file:
        write(file)
