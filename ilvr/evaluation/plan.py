"""What an evaluation consists of: its settings, and its work cut into units."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from .. import checkpoint, samplers
from ..guidance import ConditioningRange
from ..image import open_image, pictures
from ..settings import LATENT_FACTORS, Settings
from ..values import printable

METRICS = ("fid", "lpips", "niqe", "agreement")
FEATURES = ("inception", "model")
FACTORS = [4, 8, 16, 32]  # of the paper's tables
KEPT = ("none", "sheet", "all")
REPEATED = ("out", "ray", "device", "model", "references", "real", "mask", "limit")
SHOWN = 8  # references on the sheet


@dataclass(frozen=True, kw_only=True)
class Evaluation(Settings):
    """What is evaluated; the fields are options of `python -m ilvr evaluate`."""

    references: list[Path]
    factors: list[float] | None = None
    ranges: list[str] = field(default_factory=lambda: ["0"])
    samples_per_reference: int = 10
    metrics: list[str] | None = None
    features: str = "inception"
    real: Path | None = None
    limit: int | None = None
    keep: str = "sheet"
    ray: str | None = None


@dataclass(frozen=True)
class Setting:
    """A column of the tables.

    kind: "guided" by `factor` within `range`; else "unconditional" samples, the pictures of the
    "real" set, or the "references" themselves.
    """

    kind: str
    factor: float | None = None
    range: ConditioningRange | None = None

    @property
    def name(self) -> str:
        return f"N{self.factor:g}-{self.range}" if self.kind == "guided" else self.kind

    @property
    def title(self) -> str:
        return f"N = {self.factor:g}" if self.kind == "guided" else self.kind


@dataclass(frozen=True)
class Unit:
    """The pictures `first` to `last` - 1 of a setting's references, with every seed of theirs."""

    setting: Setting
    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.setting.name}/{self.first:06}-{self.last - 1:06}"


class Task:
    """One evaluation. machine: what runs it, this process (`work.Here`) or a cluster.

    Everything that a unit's result depends on is in `fingerprint`.
    """

    def __init__(self, options: Evaluation, machine):
        self.options = options
        self.references = pictures(options.references)[: options.limit]
        self.real = pictures([options.real]) if options.real else self.references
        self.device, self.threads = machine.device(options.device), machine.threads
        self.spans = [ConditioningRange.parse(text) for text in options.ranges]
        if options.mask:
            open_image(options.mask)
        recognised = checkpoint.inspect(options.checkpoint, options.overrides)
        self.configuration, self.assumed = recognised.configuration, recognised.assumed
        usual = LATENT_FACTORS if self.configuration.compression > 1 else FACTORS
        self.filters = {n: options.low_pass(n) for n in options.factors or usual}
        self.metrics = tuple(options.metrics or self._fitting_metrics())
        if "lpips" in self.metrics and options.samples_per_reference < 2:
            raise ValueError(
                "lpips compares the samples of one reference and --samples-per-reference is 1; "
                "give 2 or more, or leave lpips out of --metrics."
            )

    def _fitting_metrics(self):
        natural = self.options.features == "inception" and self.configuration.picture_size >= 96
        return [name for name in METRICS if name != "niqe" or natural]

    @cached_property
    def settings(self) -> list[Setting]:
        guided = [Setting("guided", n, span) for span in self.spans for n in self.filters]
        if "fid" not in self.metrics:
            return guided
        others = ["real", "references", "unconditional"] if self.options.real else None
        return [Setting(kind) for kind in others or ["real", "unconditional"]] + guided

    @cached_property
    def units(self) -> list[Unit]:
        return [unit for setting in self.settings for unit in self.units_of(setting)]

    def units_of(self, setting: Setting) -> list[Unit]:
        """Whole references, as many as fill a batch; what is in a unit depends on nothing done."""
        count = len(self.real if setting.kind == "real" else self.references)
        sampled = setting.kind in ("guided", "unconditional")
        each = self.options.samples_per_reference if sampled else 1
        size = max(1, self.options.batch_size // each)
        return [Unit(setting, i, min(i + size, count)) for i in range(0, count, size)]

    def cost(self, unit: Unit) -> int:
        """About how many evaluations of the network a unit takes; for the progress bar."""
        count = unit.last - unit.first
        if unit.setting.kind in ("real", "references"):
            return count
        return count * self.options.samples_per_reference * self._steps(unit.setting)

    def _steps(self, setting):
        options, schedule = self.options, self.configuration.schedule()
        start = options.sampling["start"]
        if setting.kind == "guided" and start != "noise":
            schedule = schedule.below(500 if start == "reference" else start)
        return samplers.step_count(schedule, options.sampler, options.steps, options.respacing)

    def seeds(self, reference: int) -> range:
        """Of the samples of a reference: no two references share one."""
        count = self.options.samples_per_reference
        first = self.options.seed + reference * count
        return range(first, first + count)

    @cached_property
    def key(self) -> str:
        return json.dumps([self.fingerprint, self.threads], default=str)

    @cached_property
    def fingerprint(self) -> dict:
        """Every setting that has an influence on a result, as JSON values."""
        options = {k: v for k, v in vars(self.options).items() if k not in REPEATED}
        return {
            **options,
            "factors": list(self.filters),
            "metrics": list(self.metrics),
            "model": digest([self.options.checkpoint]),
            "references": f"{len(self.references)} pictures, {listing(self.references)}",
            "real": f"{len(self.real)} pictures, {listing(self.real)}",
            "mask": digest([self.options.mask]) if self.options.mask else None,
            "device": torch.device(self.device).type,
            "dtype": self.options.precision(self.device),
            "torch": torch.__version__,
        }


def listing(files) -> str:
    """A short hash of names and contents, wherever the files lie."""
    contents = [f"{printable(file.name)} {digest([file])}" for file in files]
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()[:16]


def digest(paths) -> str:
    """A short hash of the contents of files, or of all files in a folder."""
    total = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in filter(Path.is_file, files):
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    total.update(block)
    return total.hexdigest()[:16]
