"""What `python -m ilvr evaluate` does: the units that are left, then the tables."""

import contextlib
import sys

import torch
from tqdm import tqdm

from . import cluster, figure, tables
from .folder import Folder
from .plan import Task
from .work import Worker


def evaluate(options) -> None:
    """Does what is left of the work in options.out, then writes its tables, figure and sheet.

    options: those of the command line. Raises ValueError, in one sentence, for settings that do
    not fit, for a folder of other settings and for whatever stops the work before its end.
    """
    machine = cluster.connect(options.ray) if options.ray else None
    task = Task(options, machine)
    worker = None
    if machine is None:
        worker = Worker(task)
    else:
        cluster.check(machine, task)
    folder = Folder(task)
    torch.set_num_threads(task.threads)
    _work(task, folder, worker, machine)
    rows = tables.write(task, folder)
    with _stopped(task, folder):
        figure.write(task, folder, rows)
        if options.keep != "none":
            figure.sheet(task, folder)
    tqdm.write(tables.markdown(task, rows))
    tqdm.write(f"written to {folder.path}: results.json, results.csv, results.md, times.json")


def _work(task, folder, worker, machine):
    left = [unit for unit in task.units if unit not in folder]
    total, done = sum(map(task.cost, task.units)), sum(map(task.cost, left))
    bar = tqdm(
        total=total, initial=total - done, unit="evaluation", unit_scale=True,
        smoothing=0.05, disable=None if left else True, dynamic_ncols=True,
    )  # fmt: skip
    with bar, _stopped(task, folder):
        if machine is None:
            results = ((unit, worker.run(unit, bar.update)) for unit in left)
        else:
            results = cluster.results(machine, task, left)
        for unit, result in results:
            folder.write(unit, result)
            for reference, why in result.skipped:
                tqdm.write(f"ilvr: skipped {reference}: {why}", file=sys.stderr)
            if machine is not None:
                bar.update(task.cost(unit))


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
