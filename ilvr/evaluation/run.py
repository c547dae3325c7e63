"""What `python -m ilvr evaluate` does: the units that are left, then the tables."""

import contextlib
from collections.abc import Callable

import torch

from . import cluster, figure, tables
from .folder import TABLES, Folder
from .plan import Evaluation, Task
from .work import Here


def evaluate(
    options: Evaluation, say: Callable[[str], object], warn: Callable[[str], object], progress
) -> None:
    """Does what is left of the work in options.out, then writes its tables, figure and sheet.

    say, warn: print a text. progress: makes a bar, as `tqdm` does. Raises ValueError, in one
    sentence, for settings that do not fit, for a folder of other settings and for whatever stops
    the work before its end.
    """
    machine = cluster.connect(options.ray) if options.ray else Here()
    task = Task(options, machine)
    machine.check(task)
    if task.assumed:
        warn(options.doubts(task.assumed))
    folder = Folder(task)
    torch.set_num_threads(task.threads)
    _work(task, folder, machine, warn, progress)
    rows = tables.write(task, folder)
    with _stopped(task, folder):
        figure.write(task, folder, rows)
        if options.keep != "none":
            figure.sheet(task, folder)
    say(tables.markdown(task, rows))
    say(f"written to {folder.path}: {', '.join(TABLES)}")


def _work(task, folder, machine, warn, progress):
    left = [unit for unit in task.units if unit not in folder]
    total, done = sum(map(task.cost, task.units)), sum(map(task.cost, left))
    bar = progress(
        total=total, initial=total - done, unit="evaluation", unit_scale=True,
        smoothing=0.05, disable=None if left else True, dynamic_ncols=True,
    )  # fmt: skip
    with bar, _stopped(task, folder):
        for unit, result in machine.results(task, left, bar.update):
            folder.write(unit, result)
            for reference, why in result.skipped:
                warn(f"skipped {reference}: {why}")


@contextlib.contextmanager
def _stopped(task, folder):
    """Says in one sentence what is kept when the disk is full or the user stops."""
    try:
        yield
    except OSError as error:
        why = f"{folder.path} can't be written to ({error.strerror or error})"
        raise ValueError(f"{why}; {_kept(task, folder)}") from None
    except KeyboardInterrupt:
        raise ValueError(f"stopped; {_kept(task, folder)}") from None


def _kept(task, folder):
    done = sum(unit in folder for unit in task.units)
    return f"{done} of {len(task.units)} units are kept, and the same command goes on from there."
