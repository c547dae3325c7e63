"""ILVR, iterative latent variable refinement (Choi et al., ICCV 2021), on torch alone."""

import os
import signal
import sys

if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Being started by `python -m ilvr`: Ctrl-C while torch is imported ends it without a traceback.
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"ilvr: stopped.\n"), os._exit(2)))

from .checkpoint import convert, inspect, load
from .guidance import ConditioningRange, Refinement, match_low_frequencies
from .image import contact_sheet, load_image, load_mask, to_images
from .low_pass import BandPassFilter, LowPassFilter
from .model import Configuration, DiffusionModel
from .noise import ItemNoise
from .reference import NoisedReference
from .samplers import ddim, ddpm, dpmpp_2m, sample, steps
from .schedule import NoiseSchedule

__all__ = [
    "BandPassFilter",
    "ConditioningRange",
    "Configuration",
    "DiffusionModel",
    "ItemNoise",
    "LowPassFilter",
    "NoiseSchedule",
    "NoisedReference",
    "Refinement",
    "contact_sheet",
    "convert",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "inspect",
    "load",
    "load_image",
    "load_mask",
    "match_low_frequencies",
    "sample",
    "steps",
    "to_images",
]
