"""The same units on a Ray cluster.

Every node needs this package, the model and the references, these under the same paths. Results
come back to the process that was started, which alone writes.
"""

import logging
import socket
from collections.abc import Callable, Iterator

from .plan import Task, Unit
from .work import Result, Worker

RETRIES = 5  # of a unit whose worker or node dies
PATIENCE = 20  # seconds for a cluster to answer
AHEAD = 2  # units handed out for each place that runs one

_workers: dict[str, Worker] = {}  # this process's one, by the key of its task


class Cluster:
    """A running Ray cluster."""

    threads = 1  # of torch in each worker

    def __init__(self, ray):
        self.ray = ray
        self.gpus = int(ray.cluster_resources().get("GPU", 0))

    def device(self, name: str | None) -> str:
        """What was asked for, else the GPUs where the cluster has any."""
        return name or ("cuda" if self.gpus else "cpu")

    def places(self, device: str) -> int:
        """How many units run at the same time, now."""
        kind = "GPU" if device.startswith("cuda") else "CPU"
        return max(1, int(self.ray.cluster_resources().get(kind, 0)))

    def check(self, task: Task) -> None:
        """ValueError, before anything is written, for settings that do not fit the model."""
        _result(self.ray, self._remote(task, _ready).remote(task))

    def results(
        self, task: Task, units: list[Unit], tick: Callable[[int], object]
    ) -> Iterator[tuple[Unit, Result]]:
        """Each unit with its result, as they are finished; calls `tick` with what each took."""
        run, shared = self._remote(task, _run), self.ray.put(task)
        waiting, left = {}, iter(units)
        while True:
            for unit in left:
                waiting[run.remote(shared, unit)] = unit
                if len(waiting) >= AHEAD * self.places(task.device):
                    break
            if not waiting:
                return

            (ready, *_), _ = self.ray.wait(list(waiting))
            unit = waiting.pop(ready)
            yield unit, _result(self.ray, ready)
            tick(task.cost(unit))

    def _remote(self, task, function):
        gpu = task.device.startswith("cuda")
        needs = {"num_gpus": 1} if gpu else {"num_cpus": task.threads}
        return self.ray.remote(max_retries=RETRIES, **needs)(function)


def connect(address: str) -> Cluster:
    """ValueError where Ray is not installed, or no cluster is at the address ("auto": found)."""
    try:
        import ray
    except ImportError:
        raise ValueError("--ray needs Ray; install it with pip install 'ilvr[ray]'.") from None
    try:
        _reach(address)
        ray.init(address=address, logging_level=logging.WARNING, ignore_reinit_error=True)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise ValueError(
            f"No Ray cluster was found at {address!r} ({reason}); start one with "
            f"`ray start --head`, or leave --ray out."
        ) from None
    return Cluster(ray)


def _reach(address):
    """OSError where nothing answers at a host and port, for which Ray would wait minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()


def _result(ray, reference):
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, ValueError) else error from None
    except ray.exceptions.RayError as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise ValueError(f"the Ray cluster could not finish a unit ({reason}).") from None


def _run(task, unit):
    return _worker(task).run(unit)


def _ready(task):
    _worker(task)


def _worker(task):
    """This process of the cluster loads the model once."""
    if task.key not in _workers:
        _workers.clear()
        _workers[task.key] = Worker(task)
    return _workers[task.key]
