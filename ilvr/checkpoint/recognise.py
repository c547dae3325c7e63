"""The configuration of a state dict.

The architecture is read from keys and shapes. What shapes cannot tell (attention order, heads,
schedule, ...) comes from the file's own metadata or the config.json beside it, else from the table
of published models that the architecture selects, else it is assumed. Whatever was recognised can
be overridden.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from ..model import Configuration, kinds
from ..values import printable
from .layouts import PROBE, State, layout_of
from .names import numbers
from .published import FOUR_HEADS, PUBLISHED

OWN = "its own configuration"  # in the file or beside it
FIELDS = tuple(kinds())
CHANNELS = (1, 3, 4)  # grey, colour, latents
ARCHITECTURE = FIELDS[: FIELDS.index("image_size")]  # what shapes tell


@dataclass(frozen=True)
class Recognised:
    """A configuration, and for each of its values where it comes from."""

    configuration: Configuration
    sources: dict[str, str]
    published: str | None

    @property
    def assumed(self) -> list[str]:
        """The values, as `name = value`, that stand in neither the weights, file nor table."""
        values = asdict(self.configuration)
        names = [name for name in FIELDS if self.sources[name] == "assumed"]
        unused = "sigma_small" if self.configuration.learn_sigma else None
        return [f"{name} = {values[name]}" for name in names if name != unused]

    def describe(self) -> str:
        """Lines `name = value  (source)`, the published model's name first; of what is assumed,
        what it may be too."""
        lines = [f"model: {self.published or 'not one of the published layouts'}"]
        for name, value in asdict(self.configuration).items():
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
            source = self.sources[name]
            may_be = f": {kinds()[name].words.rstrip(',')}" if source == "assumed" else ""
            lines.append(f"{name} = {shown}  ({source}){may_be}")
        return "\n".join(lines)


def recognise(
    state: Mapping[str, Tensor],
    metadata: Mapping | None = None,
    overrides: Mapping | None = None,
    path: str | Path = "This state dict",
) -> Recognised:
    """The configuration of a state dict. Raises ValueError where the keys fit none.

    metadata: what is known of it beside the weights. overrides: as for `load`.
    """
    return translated(state, metadata, overrides, path)[1]


def translated(
    state: Mapping[str, Tensor],
    metadata: Mapping | None = None,
    overrides: Mapping | None = None,
    path: str | Path = "This state dict",
) -> tuple[State, Recognised]:
    """The state dict in the names and the sense of `UNet`, and what `recognise` says of it."""
    layout = layout_of(state)
    try:
        given = layout.translate(state)
        recognised = _recognised(given, layout, metadata, overrides)
        configuration = recognised.configuration
        configuration.schedule()
        channels = configuration.in_channels
        if configuration.compression == 1 and channels not in CHANNELS:
            raise ValueError(
                f"it takes {channels} channels, as models of super-resolution do, which need a "
                f"second picture; a model of colour pictures (3) or grey ones (1) is needed."
            )
        _check_fit(configuration, given, layout, state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return layout.adapt(given, configuration.heads), recognised


def _recognised(given, layout, metadata, overrides):
    metadata, overrides = _checked(metadata, OWN), _checked(overrides, "override")
    read = _read_architecture(given, metadata)
    known = layout.values | read | metadata
    published = next((name for name, model in PUBLISHED.items() if _agrees(model, known)), None)
    configuration = PUBLISHED[published] if published else _assumed(known, layout)

    sources = dict.fromkeys(FIELDS, "table of published models" if published else "assumed")
    sources |= dict.fromkeys(metadata, OWN)
    sources |= dict.fromkeys([*layout.values.keys() - metadata, *read], "read from the weights")
    sources |= dict.fromkeys(overrides, "override")
    return Recognised(replace(configuration, **known | overrides), sources, published)


def _agrees(model, known):
    told = {name: value for name, value in known.items() if name != "sigma_small"}
    return all(getattr(model, name) == value for name, value in told.items())


def _read_architecture(state, metadata):
    try:
        return _architecture(state)
    except (KeyError, IndexError, ZeroDivisionError):
        if metadata.keys() >= set(ARCHITECTURE):
            return {}
        raise ValueError(
            "it has the time embedding of a U-Net of pixels, but not its blocks; it is damaged or "
            "of an architecture that is not supported."
        ) from None


def _architecture(state) -> dict:
    """What keys and shapes tell, also where a few keys are missing: `_check_fit` names those."""

    def blocks(pattern):
        return numbers(state, rf"output_blocks\.(\d+)\.{pattern}\.")

    def width(part):
        return next(iter(t.shape[0] for name, t in state.items() if name.startswith(part)), 0)

    channels = state[PROBE].shape[1]
    ups = blocks(r"[12]\.(?:conv|in_layers|out_layers)")
    levels = len(ups) + 1
    per_level = (max(blocks("0"), default=-1) + 1) // levels
    # Output blocks run from the deepest level up, the last of each but the top one upsampling.
    last_of_level = [(levels - level) * per_level - 1 for level in range(levels)]
    widths = [width(f"output_blocks.{block}.0.out_layers.") for block in last_of_level]
    attended = blocks(r"1\.(?:norm|qkv|proj_out)")
    in_channels = state["input_blocks.0.0.weight"].shape[1]
    middle = width("middle_block.0.out_layers.")
    if not (per_level and middle and all(widths)):
        raise KeyError("blocks")
    classes = state.get("label_emb.weight")
    return {
        "model_channels": channels,
        "channel_mult": tuple(_whole(width / channels) for width in widths),
        "num_res_blocks": per_level - 1,
        "attention_rates": tuple(
            2**level for level, block in enumerate(last_of_level) if block in attended
        ),
        "in_channels": in_channels,
        "num_classes": None if classes is None else classes.shape[0],
        "learn_sigma": width("out.2.") == 2 * in_channels,
        "use_scale_shift_norm": width("middle_block.0.emb_layers.") == 2 * middle,
        "resblock_updown": not blocks(r"[12]\.conv"),
    }


def _whole(number):
    return int(number) if number == int(number) else number


def _assumed(known, layout) -> Configuration:
    """An unknown architecture: 8x8 at its deepest level; ADM has 64 channels a head if it can."""
    deepest = known["channel_mult"][-1] * known["model_channels"]
    heads = {"num_head_channels": 64} if deepest % 64 == 0 else FOUR_HEADS
    return Configuration(
        **{name: known[name] for name in ARCHITECTURE},
        **{"image_size": 8 * 2 ** (len(known["channel_mult"]) - 1)} | heads | layout.usual,
    )


def _checked(values, source):
    """`values` of the kinds of Configuration; resolutions of attention turned into rates."""
    values, known = {} if values is None else values, kinds()
    if not isinstance(values, Mapping):
        raise ValueError(f"{source} is no mapping of names to values.")
    values = {str(name): value for name, value in values.items()}

    def kept(name, value, kind):
        try:
            return kind.of(name, value)
        except ValueError as error:
            raise ValueError(f"{source} gives {error}") from None

    if "attention_resolutions" in values and "image_size" in values:
        size = kept("image_size", values["image_size"], known["image_size"])
        name = "attention_resolutions"
        resolutions = kept(name, values.pop(name), known["attention_rates"])
        values["attention_rates"] = [size // resolution for resolution in resolutions]
    if unknown := [name for name in values if name not in known]:
        name = reprlib.repr(unknown[0])
        raise ValueError(f"{source} names {name}; known are {', '.join(known)}.")
    return {name: kept(name, value, known[name]) for name, value in values.items()}


def _check_fit(configuration, given, layout, state):
    """ValueError unless the configuration's network has the keys and shapes of the weights."""
    try:
        wanted = configuration.network(device="meta").state_dict()
    except ValueError as error:
        raise ValueError(f"no network can be built so: {error}.") from None
    own = {name: layout.own(name) for name in wanted}
    faults = {
        "missing": [n for name in wanted.keys() - given for n in own[name] if n not in state],
        "unknown": [n for name in given.keys() - wanted for n in layout.own(name)],
        "of another shape": [
            n for name in wanted.keys() & given if wanted[name].shape != given[name].shape
            for n in own[name]
        ],
    }  # fmt: skip
    if any(faults.values()):
        raise ValueError(
            "it does not fit the architecture recognised in it: "
            + "; ".join(f"{what}: {_first(names)}" for what, names in faults.items() if names)
            + "."
        )


def _first(names):
    """The first three of some names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(printable(name[:100]) for name in sorted(names)[:3]) + more
