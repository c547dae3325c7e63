"""ILVRSweep and ContactSheet: the paper's Fig. 4 and Fig. 5, and the table of both."""

import re
from itertools import zip_longest

from comfy_api.latest import io, ui

from ..ilvr import ConditioningRange, contact_sheet, to_images
from ..ilvr.image import to_tensor
from ..ilvr.low_pass import filters
from .host.schema import LowPass, Range, from_host, schema, to_host
from .low_pass import filter_inputs

IN_A_ROW = 8  # pictures without labels


class ILVRSweep(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="ILVRSweep",
            display_name="ILVR Sweep",
            description="Every pair of a factor and a range, to sample one after the other in one "
            "run and to lay out with ContactSheet.",
            search_aliases=["ilvr", "xy plot", "grid", "compare factors", "parameter sweep"],
            inputs=[
                io.String.Input(
                    "factors",
                    default="4, 8, 16, 32",
                    tooltip="Factors of the low-pass filter, in image pixels: the larger, the less "
                    "is kept of the reference.",
                ),
                io.String.Input(
                    "ends",
                    default="0",
                    tooltip="Where the range ends: 0 follows the reference to the finished image, "
                    "larger timesteps leave it earlier. 800-200 gives a start too.",
                ),
                *filter_inputs(optional=True),
                io.String.Input(
                    "keep",
                    default="low",
                    optional=True,
                    tooltip="low keeps all detail from each factor on, high all up to it, and 4-32 "
                    "that between two factors; several with commas.",
                ),
            ],
            outputs=[
                LowPass.Output(display_name="low_pass", is_output_list=True),
                Range.Output(display_name="range", is_output_list=True),
                io.String.Output(
                    display_name="label",
                    is_output_list=True,
                    tooltip="What ContactSheet writes: the column, a bar and the row.",
                ),
            ],
        )

    @classmethod
    def execute(cls, factors, ends, kernel="cubic", exact=True, keep="low"):
        numbers = [_number(text) for text in _parts(factors, "factors")]
        kept = filters(_parts(keep, "keep"), numbers, kernel, exact)
        ranges = [ConditioningRange.parse(text) for text in _parts(ends, "ends")]
        pairs = [(low_pass, range) for range in ranges for low_pass in kept]
        labels = [(low_pass.title, str(range)) for low_pass, range in pairs]
        if len(kept) == 1:
            labels = [reversed(label) for label in labels]
        return io.NodeOutput(*map(list, zip(*pairs)), [" | ".join(label) for label in labels])


class ContactSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="ContactSheet",
            display_name="Contact Sheet",
            description="All pictures of a run in one labelled picture.",
            search_aliases=["ilvr", "xy plot", "grid", "image grid", "collage"],
            is_input_list=True,
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="The pictures; those of a batch with one label stand under each other.",
                ),
                io.String.Input(
                    "labels",
                    optional=True,
                    force_input=True,
                    tooltip="A label for each picture, from ILVRSweep: its column in the table "
                    "and, after a bar, its row.",
                ),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="One picture, shown at the left of each row, to compare with.",
                ),
                io.Int.Input(
                    "cell",
                    default=256,
                    min=16,
                    max=4096,
                    optional=True,
                    tooltip="How wide each picture is shown, in pixels.",
                ),
                io.String.Input(
                    "title", default="", optional=True, tooltip="Written above the pictures."
                ),
            ],
            outputs=[io.Image.Output(tooltip="The sheet, to be saved.")],
        )

    @classmethod
    def execute(cls, images, labels=None, reference=None, cell=(256,), title=("",)):
        columns, rows, names = _table([_pictures(batch) for batch in images], labels)
        if reference:
            columns = ["reference", *columns]
            rows = [[*_pictures(reference[0])[:1], *row] for row in rows]
        sheet = to_host(to_tensor(contact_sheet(rows, columns, names, title[0], cell[0])))
        return io.NodeOutput(sheet, ui=ui.PreviewImage(sheet, cls=cls))


def _pictures(batch):
    return to_images(from_host(batch))


def _table(batches, labels):
    """Column labels, rows of pictures, row labels; the pictures of a batch go down its column."""
    if not labels:
        pictures = [picture for batch in batches for picture in batch]
        return [], [pictures[i : i + IN_A_ROW] for i in range(0, len(pictures), IN_A_ROW)], []
    if len(batches) == 1:
        batches = [[picture] for picture in batches[0]]
    if len(labels) != len(batches):
        raise ValueError(
            f"There are {len(batches)} pictures and {len(labels)} labels; give a label for each."
        )
    cells = {}
    for label, batch in zip(labels, batches):
        column, _, row = label.partition(" | ")
        cells.setdefault(row, {}).setdefault(column, []).extend(batch)
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    rows, names = [], []
    for name, row in cells.items():
        block = list(zip_longest(*(row.get(column, []) for column in columns)))
        rows += block
        names += [name] + [""] * (len(block) - 1)
    return columns, rows, names


def _parts(text, what):
    parts = re.split(r"[\s,;]+", text.strip(" ,;\n\t"))
    if parts == [""]:
        raise ValueError(f"{what} is empty; give numbers with commas between them.")
    return parts


def _number(text):
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"The factor {text!r} is no number; give some such as 4, 8, 16.") from None
