"""From a unit to its result: sampling, and what is measured on each picture."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from .. import samplers
from ..image import load_image, load_mask, seen, to_images
from ..values import available_device
from .features import measures
from .plan import SHOWN, Task, Unit


@dataclass
class Result:
    """Of a unit. arrays: one row a picture or, of "diversity", a reference; `images` to keep as
    (name, picture, parameters); references `skipped` as (path, why)."""

    arrays: dict[str, np.ndarray]
    images: list = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


class Worker:
    """The model and the measures of one process."""

    def __init__(self, task: Task):
        torch.set_num_threads(task.threads)
        torch.backends.cudnn.deterministic = True
        self.task, self.options = task, task.options
        self.model = task.options.load(task.device)
        self.size = self.model.configuration.picture_size
        self.channels = self.model.configuration.picture_channels
        features, self.diversity, self.niqe = measures(
            task.metrics, task.options.features, self.model, task.options.class_label
        )
        batch = task.options.batch_size
        self.features = lambda x: np.concatenate([features(part) for part in x.split(batch)])
        self._check()

    def _check(self):
        """ValueError, before anything is sampled, for settings that do not fit the model."""
        for setting in self.task.settings:
            if setting.kind == "guided":
                low_pass = self.task.filters[setting.factor]
                self.options.check(self.model, low_pass, setting.range)

    def run(self, unit: Unit, tick: Callable[[int], object] = lambda evaluations: None) -> Result:
        """The same whatever was run before. Calls `tick` as the network is evaluated."""
        if unit.setting.kind in ("real", "references"):
            return self._measured(unit, tick)
        return self._sampled(unit, tick)

    def _measured(self, unit, tick):
        files = self.task.real if unit.setting.kind == "real" else self.task.references
        pictures, skipped = self._read(files, unit)
        tick(unit.last - unit.first)
        if not pictures:
            return Result(self._nothing(), [], skipped)
        images = torch.cat([y for y, _ in pictures.values()])
        arrays = {"reference": np.array(list(pictures), int)}
        arrays["fid"] = self.features(images)
        return Result(arrays, [], skipped)

    def _sampled(self, unit, tick):
        guided = unit.setting.kind == "guided"
        references = dict.fromkeys(range(unit.first, unit.last), (None, None))
        skipped = []
        if guided:
            references, skipped = self._read(self.task.references, unit)
        if not references:
            return Result(self._nothing(), [], skipped)
        jobs = [(index, seed) for index in references for seed in self.task.seeds(index)]
        x, starts, seconds, evaluations = self._batches(unit.setting, jobs, references, tick)
        images = seen(x)
        arrays = {"reference": np.array([index for index, _ in jobs], int)}
        arrays |= {"seconds": np.array(seconds), "evaluations": np.array(evaluations)}
        if "fid" in self.task.metrics:
            arrays["fid"] = self.features(images)
        if guided:
            arrays |= self._of_guided(unit.setting, x, images, references)
        return Result(arrays, self._kept(unit.setting, images, jobs, starts), skipped)

    def _batches(self, setting, jobs, references, tick):
        """(x of every job, the timestep that each started from, seconds of sampling, evaluations
        of the network)."""
        done, starts, evaluations, begin = [], [], 0, time.perf_counter()
        settings = self.options.sampling
        for i in range(0, len(jobs), self.options.batch_size):
            batch = jobs[i : i + self.options.batch_size]
            refinement = None
            if setting.kind == "guided":
                refinement = self._refinement(setting, [references[index] for index, _ in batch])
            seeds = [seed for _, seed in batch]
            start = samplers.start_timestep(self.model, refinement, settings["start"])
            starts += [start] * len(batch)
            for step in samplers.steps(
                self.model, seeds, refinement, **{**settings, "start": start}
            ):
                evaluations += len(batch)
                tick(len(batch))
            done.append(self.model.decode(step.x).float().cpu())
        return torch.cat(done), starts, time.perf_counter() - begin, evaluations

    def _of_guided(self, setting, x, images, references):
        """Agreement, diversity and NIQE, as far as they were asked for."""
        arrays = {}
        count = self.options.samples_per_reference
        if "agreement" in self.task.metrics:
            y = torch.cat([y for y, _ in references.values()])
            y = y.repeat_interleave(count, dim=0)
            masks = [mask for _, mask in references.values() if mask is not None]
            mask = torch.cat(masks).repeat_interleave(count, dim=0) if masks else 1.0
            down = self.task.filters[setting.factor].down
            arrays["agreement"] = decibels(down(mask * x), down(mask * y))
            arrays["agreement8"] = decibels(down(mask * images), down(mask * y))
        if "lpips" in self.task.metrics:
            arrays["lpips"] = np.array([self.diversity(group) for group in images.split(count)])
        if "niqe" in self.task.metrics:
            arrays["niqe"] = self.niqe(images)
        return arrays

    def _nothing(self):
        """The arrays of a unit no picture of which could be read."""
        arrays = {key: np.zeros(0) for key in ("agreement", "agreement8", "lpips", "niqe")}
        arrays |= {"reference": np.zeros(0, int), "seconds": np.array(0.0)}
        arrays |= {"evaluations": np.array(0)}
        if "fid" in self.task.metrics:
            arrays["fid"] = self.features(self._blank(1))[:0]
        return arrays

    def _read(self, files, unit):
        """({index: (picture (1, C, H, W), mask or None)}, [(path, why)] of those that can't be)."""
        found, skipped = {}, []
        for index in range(unit.first, unit.last):
            path, mask = files[index], None
            try:
                picture = load_image(path, self.size, self.channels)
                if self.options.mask and files is self.task.references:
                    mask = load_mask(self.options.mask, self.size, path)
                found[index] = picture, mask
            except ValueError as error:
                skipped.append((str(path), str(error)))
        return found, skipped

    def _refinement(self, setting, references):
        y, masks = zip(*references)
        y = self.model.encode(torch.cat(y))
        mask = self.model.on_cells(torch.cat(masks)) if self.options.mask else None
        return self.options.refinement(y, self.task.filters[setting.factor], setting.range, mask)

    def _kept(self, setting, images, jobs, starts):
        keep, first = self.options.keep, self.options.seed
        if keep == "none":
            return []
        kept = []
        for (index, seed), start, image in zip(jobs, starts, to_images(images), strict=True):
            if keep == "all" or (index < SHOWN and seed == self.task.seeds(index)[0]):
                of = {"reference": str(self.task.references[index]), "seed": seed}
                kept.append(
                    (f"{index:06}-{seed - first:07}", image, of | self._made(setting, start))
                )
        return kept

    def _made(self, setting, start):
        if setting.kind == "guided":
            low_pass = self.task.filters[setting.factor]
            return {**self.options.parameters(low_pass, setting.range), "start": start}
        return {"model": self.options.name}

    def _blank(self, count):
        return torch.zeros(count, self.channels, self.size, self.size)


class Here:
    """This process, with the interface of `cluster.Cluster`."""

    device = staticmethod(available_device)
    threads = property(lambda self: torch.get_num_threads())

    def check(self, task: Task) -> None:
        """ValueError, before anything is written, for settings that do not fit the model."""
        self._worker = Worker(task)

    def results(self, task: Task, units: list[Unit], tick: Callable[[int], object]):
        """Each unit with its result; calls `tick` as the network is evaluated."""
        for unit in units:
            yield unit, self._worker.run(unit, tick)


def decibels(x: Tensor, y: Tensor) -> np.ndarray:
    """(B,) PSNR of x against y (B, C, H, W) in [-1, 1], an image at a time."""
    ratio = [peak_signal_noise_ratio(a, b, data_range=2.0).item() for a, b in zip(x, y)]
    return np.array(ratio)
