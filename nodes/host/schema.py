"""Node schemas that every supported host takes, its images, and the pack's own types."""

import dataclasses

from comfy_api.latest import io

CATEGORY = "ILVR"
LowPass = io.Custom("ILVR_LOW_PASS")
Reference = io.Custom("ILVR_REFERENCE")
Range = io.Custom("ILVR_RANGE")
_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def schema(**fields) -> io.Schema:
    """io.Schema in the pack's category, without the fields that an older host does not know."""
    fields = {"category": CATEGORY, **fields}
    return io.Schema(**{name: value for name, value in fields.items() if name in _FIELDS})


def check_choice(what: str, value, options):
    """Raises ValueError for a value that is no option: older hosts do not look, and run it."""
    if value not in options:
        raise ValueError(f"Unknown {what} {value!r}: choose one of {', '.join(options)}.")


def from_host(image):
    """An IMAGE (B, H, W, 3 or more) in [0, 1] as the core has it: (B, 3, H, W) in [-1, 1]."""
    return image[..., :3].movedim(-1, 1) * 2 - 1


def to_host(image):
    """(B, 3, H, W) in [-1, 1] as an IMAGE."""
    return (image.movedim(1, -1) + 1) / 2
