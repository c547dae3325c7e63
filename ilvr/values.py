"""What comes from outside, looked at where it enters: text, JSON, numbers, tensors."""

import json

import numpy as np
import torch
from torch import Tensor


def printable(text: str) -> str:
    """Text in which what moves a terminal's cursor or hides is spelled out, as Python does it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def parsed(text: str):
    """The value of a JSON text. ValueError for any other text, nested too deep among them."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def tensor(x, what: str, axes: int = 0) -> Tensor:
    """x, a tensor or an array of real numbers with `axes` axes or more and none of them empty.

    Raises ValueError, which calls x `what`, for anything else.
    """
    if isinstance(x, np.ndarray) and x.dtype.kind in "biuf":
        x = torch.from_numpy(np.array(x, dtype=x.dtype.newbyteorder("=")))
    if not isinstance(x, Tensor) or (kind := unusual(x)) or x.ndim < axes or not x.numel():
        given = f"of shape {tuple(x.shape)}" if isinstance(x, Tensor) and not unusual(x) else ""
        given = given or (f"a {kind} tensor" if isinstance(x, Tensor) else f"a {type(x).__name__}")
        raise ValueError(f"{what} is {given}; a tensor of real numbers is needed")
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
