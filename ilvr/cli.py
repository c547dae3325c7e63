"""`python -m ilvr`: sample, sweep, evaluate, inspect, convert."""

import io
import itertools
import os
import sys

import torch
from tqdm import tqdm

from . import checkpoint, samplers
from .disk import writable_folder
from .guidance import ConditioningRange
from .image import (
    contact_sheet,
    fit,
    load_mask,
    open_image,
    pictures,
    read_parameters,
    save_png,
    to_images,
    to_tensor,
    unreadable,
)
from .parser import parser
from .settings import Settings, overrides

SHEET_COLUMNS = 8  # results of one reference beside each other
NAME_BYTES = 200  # of a file's 255


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0, or 2 after one sentence on stderr."""
    for stream in (sys.stdout, sys.stderr):  # names that a terminal's encoding does not have
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = parser(
        sample=_sample, sweep=_sweep, evaluate=_evaluate, inspect=_inspect, convert=_convert
    ).parse_args(arguments)
    try:
        options.run(options)
    except ValueError as error:
        print(f"ilvr: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("ilvr: stopped; the pictures finished so far are kept.", file=sys.stderr)
        return 2
    return 0


def _sample(options):
    """Every reference with every seed, then one sheet of all."""
    settings, seeds = Settings.of(options), _seeds(options)
    (low_pass,) = settings.filters([options.keep], [options.factor], options.channels)
    span = ConditioningRange(*options.range)
    references = pictures(options.references)
    jobs = [(path, seed) for path in references for seed in seeds]
    run = _Run(settings, references)
    run.expect(len(jobs))
    results = {}
    for (path, seed), image in run.images(jobs, low_pass, span):
        band = low_pass.title.replace(" = ", "").replace(", ", "-")
        name = f"{_short(path.stem)}-{band}-{seed}.png"
        of = {"reference": str(path), "seed": seed}
        run.save(image, name, of | settings.parameters(low_pass, span))
        results[path, seed] = image
    groups = [seeds[i : i + SHEET_COLUMNS] for i in range(0, len(seeds), SHEET_COLUMNS)]
    rows, labels = [], []
    for path, group in itertools.product(references, groups):
        rows.append([run.pictures[path], *(results[path, seed] for seed in group)])
        labels.append(path.stem if len(groups) == 1 else f"{path.stem}, seeds from {group[0]}")
    columns = ["reference", *(f"seed {seed}" for seed in seeds)] if len(groups) == 1 else []
    title = run.title(f"{low_pass.title}, range {span}")
    of = {"references": [str(path) for path in references], "seeds": seeds}
    sheet = run.sheet(rows, columns, labels, title)
    run.save(sheet, "sheet.png", of | settings.parameters(low_pass, span))


def _sweep(options):
    """One reference with every factor and range: Fig. 4 and Fig. 5 of the paper."""
    settings, path, seeds = Settings.of(options), options.reference, _seeds(options)
    spans = [ConditioningRange.parse(text) for text in options.ranges]
    filters = settings.filters(options.keep, options.factors, options.channels)
    run = _Run(settings, [path])
    run.expect(len(seeds), times=len(spans) * len(filters))
    rows, labels = [], []
    for span in spans:
        columns = [
            [image for _, image in run.images([(path, seed) for seed in seeds], low_pass, span)]
            for low_pass in filters
        ]
        rows += [[run.pictures[path], *images] for images in zip(*columns)]
        labels += [f"{span}, seed {seed}" for seed in seeds]
    names = ["reference", *(low_pass.title for low_pass in filters)]
    sheet = run.sheet(rows, names, labels, run.title(f"{path.stem}: factors and ranges"))
    of = {"reference": str(path), "seeds": seeds}
    of |= settings.parameters(filters[0], spans[0])
    of |= {"keep": options.keep, "factor": options.factors}
    of |= {"range": [[span.start, span.end] for span in spans]}
    run.save(sheet, f"sweep-{_short(path.stem)}.png", of)


def _evaluate(options):
    """Tables 1, 2 and A of the paper; what it needs is installed only for those who want it."""
    try:
        from .evaluation.plan import Evaluation
        from .evaluation.run import evaluate
    except ImportError as error:
        raise ValueError(
            f"evaluate needs what is not here ({error}); install it with "
            f"pip install 'ilvr[evaluate]'."
        ) from None
    evaluate(Evaluation.of(options), tqdm.write, _warn, tqdm)


def _inspect(options):
    print(checkpoint.inspect(options.file, overrides(options.set)).describe())


def _convert(options):
    print(checkpoint.convert(options.file, options.target, overrides(options.set)).describe())
    print(f"written: {options.target}")


class _Run:
    """The model, pictures, masks, output folder and progress bar of one command.

    Files and devices that will not do are refused here, before anything is written.
    """

    def __init__(self, settings: Settings, paths):
        self.settings = settings
        self.pictures = {path: open_image(path) for path in paths}
        self.model = settings.load()
        if self.model.assumed:
            _warn(settings.doubts(self.model.assumed))
        size, mask = self.model.configuration.image_size, settings.mask
        channels = self.model.configuration.in_channels
        self.masks = {path: load_mask(mask, size, path) for path in paths if mask}
        self.pictures = {path: fit(image, size, channels) for path, image in self.pictures.items()}
        self.out = writable_folder(settings.out)

    def title(self, what):
        """Of a sheet whose pictures are finished: what is on it, and how it was sampled."""
        start = self.settings.sampling["start"]
        start = start if isinstance(start, str) else f"timestep {start:g}"
        steps = self.settings.respacing or " or ".join(map(str, sorted(self.counts)))
        return f"{what}; {self.settings.sampler}, {steps} steps from {start}"

    def sheet(self, rows, columns, labels, title):
        if missing := unreadable("".join([title, *columns, *labels])):
            _warn(
                f"no font of this machine has {missing!r}, of which the sheet shows boxes; install "
                f"one, such as Noto Sans CJK."
            )
        return contact_sheet(rows, columns, labels, title)

    def expect(self, images, times=1):
        """Sets up the bar for that many images and runs of them."""
        self.left, self.counts = images * times, set()
        self.bar = tqdm(total=0, unit="step", disable=None, dynamic_ncols=True)

    def images(self, jobs, low_pass, span):
        """Yields each (reference path, seed) with its finished image, batch by batch.

        What is in a batch starts at one level, so that no picture depends on the others.
        """
        starts = {path: self._start(path, low_pass, span) for path, _ in jobs}
        size = self.settings.batch_size
        for _, group in itertools.groupby(jobs, lambda job: starts[job[0]]):
            alike = list(group)
            for batch in (alike[i : i + size] for i in range(0, len(alike), size)):
                refinement = self._refinement([path for path, _ in batch], low_pass, span)
                x = self._finish([seed for _, seed in batch], refinement)
                yield from zip(batch, to_images(x), strict=True)

    def _start(self, path, low_pass, span):
        refinement = self._refinement([path], low_pass, span)
        start = self.settings.sampling["start"]
        return samplers.start_timestep(self.model.schedule, refinement, start)

    def _refinement(self, paths, low_pass, span):
        y = torch.cat([to_tensor(self.pictures[path]) for path in paths])
        mask = torch.cat([self.masks[path] for path in paths]) if self.masks else None
        return self.settings.refinement(y, low_pass, span, mask)

    def _finish(self, seeds, refinement):
        for step in samplers.steps(self.model, seeds, refinement, **self.settings.sampling):
            if step.index == 1:
                self.counts.add(step.total)
                self.bar.total = self.bar.n + self.left * step.total  # if the others take as many
            self.bar.update(len(seeds))
        self.left -= len(seeds)
        if not self.left:
            self.bar.close()
        return step.x

    def save(self, image, name, parameters):
        """Writes into the output folder, beside a picture of other parameters, never over it."""
        path = self.out / name
        free = (path.with_stem(f"{path.stem}-{i}") if i > 1 else path for i in itertools.count(1))
        path = next(p for p in free if not p.exists() or read_parameters(p) == parameters)
        try:
            save_png(image, path, parameters)
        except OSError as error:
            raise ValueError(f"{path} could not be written: {error.strerror or error}.") from None
        tqdm.write(str(path))


def _seeds(options):
    return list(range(options.seed, options.seed + options.count))


def _short(stem):
    """So much of a name that what is made of it is short enough for a file."""
    return stem.encode()[:NAME_BYTES].decode(errors="ignore")


def _warn(text):
    tqdm.write(f"ilvr: {text}", file=sys.stderr)
