"""`python -m ilvr`: sample, sweep, evaluate, inspect, convert."""

import argparse
import itertools
import json
import os
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from . import checkpoint, samplers
from .guidance import GUIDES, ConditioningRange, Refinement
from .image import (
    contact_sheet,
    fit,
    load_mask,
    open_image,
    read_parameters,
    save_png,
    to_images,
    to_tensor,
)
from .low_pass import KERNELS, LowPassFilter
from .reference import NOISES, NoisedReference

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SHEET_COLUMNS = 8  # results of one reference beside each other


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0, or 2 after one sentence on stderr."""
    options = _parser().parse_args(arguments)
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
    low_pass = LowPassFilter(options.factor, options.kernel, options.exact)
    span = ConditioningRange(*options.range)
    seeds = _seeds(options)
    jobs = [(path, seed) for path in options.references for seed in seeds]
    run = _Run(options, options.references)
    run.expect(len(jobs))
    results = {}
    for (path, seed), image in run.images(jobs, low_pass, span):
        name = f"{path.stem}-N{options.factor:g}-{seed}.png"
        of = {"reference": str(path), "seed": seed}
        run.save(image, name, of | parameters(options, low_pass, span))
        results[path, seed] = image
    groups = [seeds[i : i + SHEET_COLUMNS] for i in range(0, len(seeds), SHEET_COLUMNS)]
    rows, labels = [], []
    for path, group in itertools.product(options.references, groups):
        rows.append([run.pictures[path], *(results[path, seed] for seed in group)])
        labels.append(path.stem if len(groups) == 1 else f"{path.stem}, seeds from {group[0]}")
    columns = ["reference", *(f"seed {seed}" for seed in seeds)] if len(groups) == 1 else []
    title = _title(options, f"N = {options.factor:g}, range {span}")
    of = {"references": [str(path) for path in options.references], "seeds": seeds}
    sheet = contact_sheet(rows, columns, labels, title)
    run.save(sheet, "sheet.png", of | parameters(options, low_pass, span))


def _sweep(options):
    """One reference with every factor and range: Fig. 4 and Fig. 5 of the paper."""
    path, seeds = options.reference, _seeds(options)
    spans = [ConditioningRange.parse(text) for text in options.ranges]
    filters = [LowPassFilter(factor, options.kernel, options.exact) for factor in options.factors]
    run = _Run(options, [path])
    run.expect(len(seeds), times=len(spans) * len(filters))
    rows, labels = [], []
    for span in spans:
        columns = [
            [image for _, image in run.images([(path, seed) for seed in seeds], low_pass, span)]
            for low_pass in filters
        ]
        rows += [[run.pictures[path], *images] for images in zip(*columns)]
        labels += [f"{span}, seed {seed}" for seed in seeds]
    names = ["reference", *(f"N = {low_pass.factor:g}" for low_pass in filters)]
    sheet = contact_sheet(rows, names, labels, _title(options, f"{path.stem}: factors and ranges"))
    of = {"reference": str(path), "seeds": seeds}
    of |= parameters(options, filters[0], spans[0])
    of |= {"factor": options.factors, "range": [[span.start, span.end] for span in spans]}
    run.save(sheet, f"sweep-{path.stem}.png", of)


def _evaluate(options):
    """Tables 1, 2 and A of the paper; what it needs is installed only for those who want it."""
    try:
        from .evaluation.run import evaluate
    except ImportError as error:
        raise ValueError(
            f"evaluate needs what is not here ({error}); install it with "
            f"pip install 'ilvr[evaluate]'."
        ) from None
    evaluate(options)


def _inspect(options):
    print(checkpoint.inspect(options.file, overrides(options)).describe())


def _convert(options):
    print(checkpoint.convert(options.file, options.target, overrides(options)).describe())
    print(f"written: {options.target}")


class _Run:
    """The model, pictures, masks, output folder and progress bar of one command.

    Files and devices that will not do are refused here, before anything is written.
    """

    def __init__(self, options, paths):
        self.options = options
        self.pictures = {path: open_image(path) for path in paths}
        self.model = load_model(options)
        size = self.model.configuration.image_size
        self.masks = {path: load_mask(options.mask, size, path) for path in paths if options.mask}
        self.pictures = {path: fit(image, size) for path, image in self.pictures.items()}
        self.out = output_folder(options.out)

    def expect(self, images, times=1):
        """Sets up the bar for that many images, run in batches, and runs of them."""
        self.batches, self.bar = -(-images // self.options.batch_size) * times, None

    def images(self, jobs, low_pass, span):
        """Yields each (reference path, seed) with its finished image, batch by batch."""
        for i in range(0, len(jobs), self.options.batch_size):
            batch = jobs[i : i + self.options.batch_size]
            refinement = self._refinement([path for path, _ in batch], low_pass, span)
            x = self._finish([seed for _, seed in batch], refinement)
            yield from zip(batch, to_images(x), strict=True)

    def _refinement(self, paths, low_pass, span):
        options = self.options
        image = torch.cat([to_tensor(self.pictures[path]) for path in paths])
        mask = torch.cat([self.masks[path] for path in paths]) if self.masks else None
        reference = NoisedReference(image, options.noise, mask)
        return Refinement(
            reference, low_pass, span, options.guide, options.strength, options.released
        )

    def _finish(self, seeds, refinement):
        for step in samplers.steps(self.model, seeds, refinement, **sampler_settings(self.options)):
            if self.bar is None:
                total = self.batches * step.total
                self.bar = tqdm(total=total, unit="step", disable=None, dynamic_ncols=True)
            self.bar.update()
        if self.bar.n == self.bar.total:
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


def load_model(options, device=None):
    """The model of --model on a device, by default that of --device, as --dtype."""
    path = options.model or checkpoint.BUNDLED
    device = device or available_device(options.device)
    model = checkpoint.load(path, device, DTYPES[options.dtype], overrides(options))
    if assumed := model.assumed:
        tqdm.write(
            f"ilvr: {path} is of no published layout; assumed: {', '.join(assumed)}; "
            f"--set NAME=VALUE overrides.",
            file=sys.stderr,
        )
    return model


def available_device(name):
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(
            f"The device {name!r} is not there; choose cpu, or cuda with a GPU."
        ) from None
    return name


def overrides(options):
    values = {}
    for text in options.set:
        name, found, value = text.partition("=")
        if not found:
            raise ValueError(
                f"--set takes NAME=VALUE, such as noise_schedule=cosine; got {text!r}."
            )
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = {"True": True, "False": False, "None": None}.get(value, value)
    return values


def output_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".ilvr-writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"{path} can't be written to: {error.strerror}.") from None
    return path


def _seeds(options):
    return list(range(options.seed, options.seed + options.count))


def sampler_settings(options):
    return {
        "sampler": options.sampler,
        "steps": options.steps,
        "respacing": options.respacing,
        "spacing": options.spacing,
        "variance": options.variance,
        "eta": options.eta,
        "clip": options.clip,
        "label": options.class_label,
    }


def parameters(options, low_pass, span):
    """What, with a reference and a seed, makes a picture again."""
    return {
        "model": str(options.model or "bundled"),
        "factor": low_pass.factor,
        "kernel": low_pass.kernel,
        "exact": low_pass.exact,
        "range": [span.start, span.end],
        "guide": options.guide,
        "strength": options.strength,
        "noise": options.noise,
        "mask": str(options.mask) if options.mask else None,
        "released": options.released,
        "dtype": options.dtype,
        "set": options.set,
        **sampler_settings(options),
    }


def _title(options, what):
    steps = options.respacing or options.steps or samplers.DEFAULT_STEPS[options.sampler]
    return f"{what}; {options.sampler}, {steps} steps"


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"ilvr: {message}; see --help.\n")


def _parser():
    parser = _Parser("python -m ilvr", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sample = commands.add_parser("sample", help="pictures that follow references")
    sample.add_argument("references", nargs="+", type=Path, metavar="REFERENCE")
    sample.add_argument("--factor", type=_number, default=8, help="downsampling factor N [8]")
    sample.add_argument(
        "--range", nargs=2, type=_number, default=(1000, 0), metavar=("START", "END"),
        help="timesteps that follow the reference: 1000 = pure noise, 0 = finished [1000 0]",
    )  # fmt: skip
    sample.set_defaults(run=_sample)

    sweep = commands.add_parser("sweep", help="one sheet of factors and ranges")
    sweep.add_argument("reference", type=Path, metavar="REFERENCE")
    sweep.add_argument("--factors", nargs="+", type=_number, default=[2, 4, 8, 16, 32])
    sweep.add_argument(
        "--ranges", nargs="+", default=["0"], help="ends, or START-END, of the range [0]"
    )
    sweep.set_defaults(run=_sweep)
    for command in (sample, sweep):
        _add_sampling(command)
        command.add_argument("--count", type=_positive, default=4, help="images a reference [4]")
    evaluate = _add_evaluate(commands)

    inspect = commands.add_parser("inspect", help="what is recognised in a checkpoint")
    convert = commands.add_parser("convert", help="a checkpoint as one .safetensors")
    for command, run in ((inspect, _inspect), (convert, _convert)):
        command.add_argument("file", type=Path, metavar="FILE", help="or a folder of diffusers")
        command.set_defaults(run=run)
    convert.add_argument("target", type=Path, metavar="FILE.safetensors")
    for command in (sample, sweep, evaluate, inspect, convert):
        command.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE",
            help="override a recognised value; inspect names them",
        )  # fmt: skip
    return parser


def _add_evaluate(commands):
    evaluate = commands.add_parser("evaluate", help="the paper's tables, on pictures of your own")
    add = evaluate.add_argument
    add("references", nargs="+", type=Path, metavar="REFERENCES", help="folders or pictures")
    add("--factors", nargs="+", type=_number, default=[4, 8, 16, 32], help="[4 8 16 32]")
    add("--ranges", nargs="+", default=["0"], help="ends, or START-END, of the range [0]")
    add("--samples-per-reference", type=_positive, default=10, metavar="COUNT", help="[10]")
    add(
        "--metrics", nargs="+", choices=["fid", "lpips", "niqe", "agreement"],
        help="[all; niqe with features inception]",
    )  # fmt: skip
    add(
        "--features", choices=["inception", "model"], default="inception",
        help="of fid and lpips: published networks, or the model's own encoder, with no download",
    )  # fmt: skip
    add("--real", type=Path, metavar="DIR", help="pictures to compare with [the references]")
    add("--limit", type=_positive, help="take the first so many references")
    add("--keep", choices=["none", "sheet", "all"], default="sheet", help="pictures [sheet]")
    add(
        "--ray", nargs="?", const="auto", metavar="ADDRESS",
        help="run on a Ray cluster: auto, or its address",
    )  # fmt: skip
    _add_sampling(evaluate)
    evaluate.set_defaults(run=_evaluate)
    return evaluate


def _add_sampling(command):
    add = command.add_argument
    boolean = argparse.BooleanOptionalAction
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    add("--model", type=Path, help="checkpoint, or folder of diffusers [the bundled one]")
    add("--kernel", choices=list(KERNELS), default="cubic")
    add("--exact", action=boolean, default=True, help="low frequencies exactly [yes]")
    add("--guide", choices=GUIDES, default="state")
    add("--strength", type=_number, default=1.0, help="0 to 1, below 1 with guide prediction [1]")
    add("--noise", choices=NOISES, default="fresh", help="of the reference [fresh]")
    add("--mask", type=Path, help="picture of the reference's size: white follows, black is free")
    add("--released", action="store_true", help="noise and range as in the authors' code")
    add("--sampler", choices=list(samplers.DEFAULT_STEPS), default="dpmpp_2m")
    add("--steps", type=int, help=f"of the sampler {samplers.DEFAULT_STEPS}")
    add("--respacing", help="instead of steps: a count, ddimN, or counts of sections a,b,c")
    add("--spacing", choices=["karras", "uniform"], default="karras", help="of dpmpp_2m [karras]")
    add("--variance", choices=samplers.VARIANCES, help="of ddpm [learned if it is]")
    add("--eta", type=_number, default=0.0, help="of ddim, 0 to 1 [0]")
    add("--clip", action=boolean, default=True, help="clamp predicted images [yes]")
    add("--class-label", type=int, help="of a class-conditional model")
    add("--batch-size", type=_positive, default=8)
    add("--seed", type=_natural, default=0, help="of the first image; the next take the next ones")
    add("--device", help="cpu, cuda, ... [cuda if there]")
    add("--dtype", choices=list(DTYPES), default="float32")


def _number(text):
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _natural(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)
