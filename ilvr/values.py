"""What comes from outside, looked at where it enters: text, JSON, numbers, tensors."""

import json
import os
import reprlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def printable(text: str) -> str:
    """Text in which what moves a terminal's cursor or hides is spelled out, as Python does it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def path_of(value) -> Path:
    """The path that a text or a path says. ValueError for anything else."""
    if isinstance(value, str | os.PathLike) and str(value) and "\0" not in str(value):
        return Path(value)
    given = printable(reprlib.repr(value))
    raise ValueError(f"{given} is no path; the name of a file or folder is needed.")


def parsed(text: str):
    """The value of a JSON text. ValueError for any other text, nested too deep among them."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def tensor(x, what: str, axes: int = 0) -> Tensor:
    """x, a tensor or an array of real numbers, as a tensor; called `what` in a ValueError.

    axes: how many it has at least, none of them empty.
    """
    if isinstance(x, np.ndarray) and x.dtype.kind in "biuf":
        x = torch.from_numpy(x.astype(x.dtype.newbyteorder("=")))
    if not isinstance(x, Tensor):
        raise ValueError(f"{what} is a {type(x).__name__}; a tensor is needed.")
    if kind := unusual(x):
        raise ValueError(f"{what} is a {kind} tensor; a plain one of real numbers is needed.")
    if x.ndim < axes or not x.numel():
        raise ValueError(
            f"{what} has the shape {tuple(x.shape)}; {axes} axes or more are needed, none empty."
        )
    return x


def finite(x, what: str, axes: int = 0) -> Tensor:
    """As `tensor`; ValueError too for values that are not finite."""
    x = tensor(x, what, axes)
    if not x.isfinite().all():
        raise ValueError(f"{what} has values that are not finite; give it numbers alone.")
    return x


def unusual(x: Tensor) -> str:
    """In a word, what sets a tensor apart from a plain array of real numbers; else nothing."""
    kinds = {
        "nested": x.is_nested,
        "sparse": x.layout != torch.strided,
        "quantized": x.is_quantized,
        "meta": x.is_meta,
        "complex": x.is_complex(),
    }
    return next((kind for kind, is_so in kinds.items() if is_so), "")


def available_device(name: str | torch.device | None) -> str:
    """The device of that name, or the GPU if there is one. ValueError where it is not there."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        raise ValueError(
            f"The device {str(name)!r} is not there; choose cpu, or cuda with a GPU."
        ) from None
    return str(name)
