"""What a run is made of, whoever starts it: the command line, or an evaluation on many machines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor

from . import checkpoint, samplers
from .guidance import ConditioningRange, Refinement
from .low_pass import BandPassFilter, LowPassFilter, filters
from .model import DiffusionModel
from .reference import NoisedReference
from .values import available_device, parsed

LATENT_FACTORS = [16, 32, 64, 128]  # where none are given; of a model of pixels the paper's
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
NATIVE = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # of torch.cpu, newer ones


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The model, the way of following and the sampler; what is left are references and seeds.

    The fields are options of the command line. set: values as NAME=VALUE that are used instead of
    those recognised in the checkpoint. start: None is the reference for dpmpp_2m, and noise for
    ddim, ddpm, respaced steps and the authors' code.
    """

    out: Path
    model: Path | None = None
    kernel: str = "cubic"
    exact: bool = True
    guide: str = "state"
    strength: float = 1.0
    noise: str = "fresh"
    mask: Path | None = None
    released: bool = False
    start: str | float | None = None
    sampler: str = "dpmpp_2m"
    steps: int | None = None
    respacing: str | None = None
    spacing: str = "karras"
    variance: str | None = None
    eta: float = 0.0
    clip: bool = True
    class_label: int | None = None
    batch_size: int = 8
    seed: int = 0
    device: str | None = None
    dtype: str = "auto"
    set: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, options):
        """From an object with the same names, such as parsed options."""
        return cls(**{field.name: getattr(options, field.name) for field in fields(cls)})

    @property
    def checkpoint(self) -> Path:
        return checkpoint.located(self.model or checkpoint.DEFAULT)

    @property
    def name(self) -> str:
        """Of the model: a bundled one's, or a path."""
        return str(self.model or checkpoint.DEFAULT)

    @property
    def overrides(self) -> Mapping:
        return overrides(self.set)

    def precision(self, device: str | None = None) -> str:
        """The dtype that the network computes in, on a device or that of the settings."""
        if self.dtype != "auto":
            return self.dtype
        return fastest_dtype(device or available_device(self.device))

    def load(self, device: str | None = None) -> DiffusionModel:
        """The model on a device, by default that of the settings; ValueError as in `load`."""
        device = device or available_device(self.device)
        dtype = DTYPES[self.precision(device)]
        model = checkpoint.load(self.checkpoint, device, dtype, self.overrides)
        if (channels := model.configuration.picture_channels) not in (1, 3):
            raise ValueError(
                f"{self.checkpoint} is a model of latents of {channels} channels without their "
                f"autoencoder, so that it gives no pictures; a file that holds both is needed."
            )
        return model

    def doubts(self, assumed: Sequence[str]) -> str:
        """What a user should know of a model, some of whose values are assumed."""
        return (
            f"{self.checkpoint} is of no published layout; assumed: {', '.join(assumed)}; "
            f"--set NAME=VALUE overrides."
        )

    def low_pass(self, factor: float) -> LowPassFilter:
        return LowPassFilter(factor, self.kernel, self.exact)

    def filters(self, keep: Sequence[str], factors: Sequence[float], channels: str):
        """As `low_pass.filters`, of this kernel."""
        return filters(keep, factors, self.kernel, self.exact, channels)

    def refinement(
        self,
        image: Tensor,
        low_pass: BandPassFilter,
        range: ConditioningRange,
        mask: Tensor | None = None,
    ) -> Refinement:
        """Towards references (B, C, H, W), with their masks (B, 1, H, W) where there are some, both
        in the model's own space."""
        reference = NoisedReference(image, self.noise, mask)
        return Refinement(
            reference, low_pass, range, self.guide, self.strength, released=self.released
        )

    def check(self, model: DiffusionModel, low_pass: BandPassFilter, range: ConditioningRange):
        """ValueError, before anything is sampled, for settings that do not fit the model."""
        configuration = model.configuration
        size = configuration.image_size, configuration.image_size
        mask = torch.ones(1, 1, *size) if self.mask else None
        blank = torch.zeros(1, configuration.in_channels, *size)
        refinement = self.refinement(blank, low_pass, range, mask)
        sampling = self.sampling
        if sampling["start"] == "reference":  # whose level a blank one does not tell
            sampling["start"] = "noise"
        samplers.steps(model, [0], refinement, **sampling)

    @property
    def sampling(self) -> dict:
        """The settings of `samplers.steps`."""
        own = self.released or self.respacing or self.sampler != "dpmpp_2m"
        default = "noise" if own else "reference"
        return {
            "start": default if self.start is None else self.start,
            "sampler": self.sampler,
            "steps": self.steps,
            "respacing": self.respacing,
            "spacing": self.spacing,
            "variance": self.variance,
            "eta": self.eta,
            "clip": self.clip,
            "label": self.class_label,
        }

    def parameters(self, low_pass: BandPassFilter, range: ConditioningRange) -> dict:
        """What, with a reference and a seed, makes a picture again; as JSON in its PNG."""
        return {
            "model": self.name,
            "keep": low_pass.keep,
            "factor": low_pass.factor if isinstance(low_pass, LowPassFilter) else None,
            "channels": low_pass.channels,
            "kernel": low_pass.kernel,
            "exact": low_pass.exact,
            "range": [range.start, range.end],
            "guide": self.guide,
            "strength": self.strength,
            "noise": self.noise,
            "mask": str(self.mask) if self.mask else None,
            "released": self.released,
            "dtype": self.precision(),
            "set": self.set,
            **self.sampling,
        }


def fastest_dtype(device: str) -> str:
    """bfloat16 where the device computes in it by itself (CUDA from Ampere, AVX512-BF16, AMX), else
    float32: imitated, it takes many times as long."""
    kind, native = torch.device(device).type, False
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif kind == "cpu":
        native = any(getattr(torch.cpu, name, bool)() for name in NATIVE)
    return "bfloat16" if native else "float32"


def overrides(texts: Sequence[str]) -> dict:
    """{name: value} of texts NAME=VALUE, values in JSON or Python's spelling, or plain words."""
    values = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found:
            raise ValueError(
                f"--set takes NAME=VALUE, such as noise_schedule=cosine; got {text!r}."
            )
        try:
            values[name] = parsed(value)
        except ValueError:
            values[name] = {"True": True, "False": False, "None": None}.get(value, value)
    return values
