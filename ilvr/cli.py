"""`python -m ilvr`: sample, sweep, evaluate, inspect, convert."""

import contextlib
import io
import itertools
import os
import re
import sys

import torch
from tqdm import tqdm

from . import checkpoint, samplers
from .disk import clear, writable_folder
from .guidance import ConditioningRange
from .image import (
    contact_sheet,
    fit,
    load_mask,
    open_image,
    pictures,
    save_beside,
    to_images,
    to_tensor,
    unreadable,
)
from .parser import parser
from .settings import LATENT_FACTORS, Settings, overrides
from .values import printable

FACTOR, LATENT_FACTOR, FACTORS = 8, 32, [2, 4, 8, 16, 32]  # where none are given
SHEET_COLUMNS = 8  # results of one reference beside each other
NAME_BYTES = 200  # of a file's 255
NO_MEMORY = r"out of memory|can't allocate memory"  # as torch says it


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0, or 2 after one sentence on stderr."""
    _open_streams()
    try:
        options = parser(
            sample=_sample, sweep=_sweep, evaluate=_evaluate, inspect=_inspect, convert=_convert
        ).parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
        return 0
    except ValueError as error:
        why = str(error)
    except BrokenPipeError:  # the reader of our output has seen enough
        _drop_output()
        return 0
    except OSError as error:
        _drop_output()
        why = f"{error.filename or 'the output'} failed: {error.strerror or error}."
    except KeyboardInterrupt:
        why = "stopped; the pictures finished so far are kept."
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search(NO_MEMORY, str(error)):
            raise
        why = "there is not enough memory; take a smaller --batch-size or --model, or fewer images."
    _warn(why)
    return 2


def _open_streams():
    """Both are there, and take names that a terminal's encoding does not have."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output():
    """What is still to be written to a stdout that takes no more, Python would try at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sample(options):
    """Every reference with every seed, then one sheet of all."""
    settings, seeds = Settings.of(options), _seeds(options)
    span, references = ConditioningRange(*options.range), pictures(options.references)
    jobs = [(path, seed) for path in references for seed in seeds]
    run = _Run(settings, references)
    usual = LATENT_FACTOR if run.latent else FACTOR
    factor = usual if options.factor is None else options.factor
    (low_pass,) = settings.filters([options.keep], [factor], options.channels)
    run.expect(len(jobs), [low_pass], [span])
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
    run = _Run(settings, [path])
    factors = options.factors or (LATENT_FACTORS if run.latent else FACTORS)
    filters = settings.filters(options.keep, factors, options.channels)
    run.expect(len(seeds), filters, spans)
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
    of |= {"keep": options.keep, "factor": factors}
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
    evaluate(Evaluation.of(options), _say, _warn, tqdm)


def _inspect(options):
    _say(checkpoint.inspect(options.file, overrides(options.set)).describe())


def _convert(options):
    _say(checkpoint.convert(options.file, options.target, overrides(options.set)).describe())
    _say(f"written: {printable(str(options.target))}")


class _Run:
    """The model, pictures, masks, output folder and progress bar of one command.

    Files and devices that will not do are refused here, before anything is written.
    """

    def __init__(self, settings: Settings, paths):
        self.settings, self.model = settings, settings.load()
        configuration, mask = self.model.configuration, settings.mask
        size, channels = configuration.picture_size, configuration.picture_channels
        self.latent = configuration.compression > 1
        self.pictures = {path: fit(open_image(path), size, channels) for path in paths}
        masks = {path: load_mask(mask, size, path) for path in paths if mask}
        self.masks = {path: self.model.on_cells(mask) for path, mask in masks.items()}
        self.encoded: dict = {}
        if self.model.assumed:
            _warn(settings.doubts(self.model.assumed))

    def title(self, what):
        """Of a sheet whose pictures are finished: what is on it, and how it was sampled."""
        start = self.settings.sampling["start"]
        if self.starts == {1000.0}:  # a mask or a filter may leave nothing to start from
            start = "noise"
        start = start if isinstance(start, str) else f"timestep {start:g}"
        steps = self.settings.respacing or " or ".join(map(str, sorted(self.counts)))
        return f"{what}; {self.settings.sampler}, {steps} steps from {start}"

    def sheet(self, rows, columns, labels, title):
        if missing := unreadable(printable("".join([title, *columns, *labels]))):
            _warn(
                f"no font of this machine has {missing!r}, of which the sheet shows boxes; install "
                f"one, such as Noto Sans CJK."
            )
        return contact_sheet(rows, columns, labels, title)

    def expect(self, images, filters, spans):
        """Sets up the folder and the bar for that many images, in batches, of each filter and span.

        ValueError, before anything is written, where one of these does not fit the model.
        """
        for low_pass, span in itertools.product(filters, spans):
            self.settings.check(self.model, low_pass, span)
        batch = self.settings.batch_size
        if (together := self.model.at_once(batch)) < batch:
            _warn(f"a batch of {batch} does not fit into memory; it is taken {together} at a time.")
        self.out = writable_folder(self.settings.out)
        clear(self.out)
        self.left = images * len(filters) * len(spans)
        self.counts, self.starts = set(), set()
        self.bar = tqdm(total=0, unit="step", disable=None, dynamic_ncols=True)

    def images(self, jobs, low_pass, span):
        """Yields each (reference path, seed) with its finished image, batch by batch.

        What is in a batch starts at one level, so that no picture depends on the others.
        """
        starts = {path: self._start(path, low_pass, span) for path, _ in jobs}
        self.starts.update(starts.values())
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
        return samplers.start_timestep(self.model, refinement, start)

    def _refinement(self, paths, low_pass, span):
        y = torch.cat([self._encoded(path) for path in paths])
        mask = torch.cat([self.masks[path] for path in paths]) if self.masks else None
        return self.settings.refinement(y, low_pass, span, mask)

    def _encoded(self, path):
        """The reference in the model's own space."""
        if path not in self.encoded:
            self.encoded[path] = self.model.encode(to_tensor(self.pictures[path]))
        return self.encoded[path]

    def _finish(self, seeds, refinement):
        for step in samplers.steps(self.model, seeds, refinement, **self.settings.sampling):
            if step.index == 1:
                self.counts.add(step.total)
                self.bar.total = self.bar.n + self.left * step.total  # if the others take as many
            self.bar.update(len(seeds))
        self.left -= len(seeds)
        if not self.left:
            self.bar.close()
        return self.model.decode(step.x)

    def save(self, image, name, parameters):
        """Writes into the output folder, beside a picture of other parameters, never over it."""
        path = self.out / name
        try:
            path = save_beside(image, path, parameters)
        except OSError as error:
            raise ValueError(f"{path} could not be written: {error.strerror or error}.") from None
        _say(printable(str(path)))


def _seeds(options):
    return list(range(options.seed, options.seed + options.count))


def _short(stem):
    """So much of a name that what is made of it is short enough for a file."""
    return os.fsencode(stem)[:NAME_BYTES].decode(errors="ignore")


def _say(text):
    """Lines on stdout, without what would move the cursor."""
    tqdm.write("\n".join(map(printable, text.split("\n"))))


def _warn(text):
    """A line on stderr, or nothing where that is full."""
    with contextlib.suppress(OSError):
        tqdm.write(f"ilvr: {printable(text)}", file=sys.stderr)
