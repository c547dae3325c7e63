"""Results on the disk: each whole or not at all, and all of one evaluation."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..disk import whole, writable_folder
from ..image import save_png
from .plan import Setting, Task, Unit
from .work import Result

SETTINGS = "settings.json"


class Folder:
    """The output folder of a task. One command at a time writes into it.

    units/SETTING/FIRST-LAST.npz holds a unit's result, images/SETTING/ the pictures kept.
    Raises ValueError for a folder that can't be written to or holds an evaluation with other
    settings, which it names.
    """

    def __init__(self, task: Task):
        self.path = writable_folder(task.options.out)
        known = self._settings()
        if known is None:
            wanted = {"settings": task.fingerprint, "threads": task.threads}
            self.save(SETTINGS, json.dumps(wanted, indent=1, default=str) + "\n")
        else:
            self._refuse_others(known["settings"], json.loads(json.dumps(task.fingerprint)))
            task.threads = known["threads"]  # the sums of floats depend on them

    def _settings(self):
        try:
            return json.loads((self.path / SETTINGS).read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            raise ValueError(
                f"{self.path / SETTINGS} is damaged; give another --out, or delete {self.path}."
            ) from None

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
            write_whole(self.path / name, lambda file: file.write(text.encode()))
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
