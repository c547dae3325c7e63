"""Node schemas that every supported host takes, and the pack's own types of connections."""

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
