"""LowPassFilter, ApplyLowPass and MatchLowFrequencies."""

import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui

from ..ilvr import NoisedReference, match_low_frequencies
from ..ilvr import low_pass as core
from .host.schema import LowPass, from_host, schema, to_host

WORDS = ["ilvr", "low pass", "blur", "downsample", "frequency"]


def filter_inputs(optional=False):
    return [
        io.Combo.Input(
            "kernel",
            options=list(core.KERNELS),
            default="cubic",
            optional=optional,
            tooltip="How pixels are averaged. cubic is the paper's; lanczos keeps edges "
            "sharper, linear and box soften them.",
        ),
        io.Boolean.Input(
            "exact",
            default=True,
            optional=optional,
            tooltip="On: the image made smaller equals the reference made smaller. Off: "
            "the paper's filter, which comes only near it.",
        ),
    ]


class LowPassFilter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="LowPassFilter",
            display_name="Low-Pass Filter",
            description="What an image keeps of its reference: what is left when the reference "
            "is made smaller by the factor.",
            search_aliases=WORDS,
            inputs=[
                io.Float.Input(
                    "factor",
                    default=32,
                    min=1,
                    max=16384,
                    step=0.5,
                    tooltip="How many times smaller the reference is made, in image pixels. Small "
                    "factors keep shapes and colours, large ones the colours of large areas; one "
                    "above the image's size keeps the mean colour alone.",
                ),
                *filter_inputs(),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="Shown on the node as the filter leaves it, to choose a factor by eye.",
                ),
            ],
            outputs=[LowPass.Output(display_name="low_pass")],
        )

    @classmethod
    def execute(cls, factor, kernel, exact, image=None):
        low_pass = core.LowPassFilter(factor, kernel, exact)
        if image is None:
            return io.NodeOutput(low_pass)
        shown = _filtered(low_pass, image).clamp(0, 1)
        return io.NodeOutput(low_pass, ui=ui.PreviewImage(shown, cls=cls))


class ApplyLowPass(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="ApplyLowPass",
            display_name="Apply Low-Pass",
            description="Splits an image into what a low-pass filter keeps and the rest.",
            search_aliases=[*WORDS, "high pass", "detail", "frequency separation"],
            inputs=[
                io.Image.Input("image", tooltip="The image to split."),
                LowPass.Input("low_pass", tooltip="The filter, from LowPassFilter."),
            ],
            outputs=[
                io.Image.Output(
                    display_name="low frequencies", tooltip="Colours and layout: what ILVR keeps."
                ),
                io.Image.Output(
                    display_name="high frequencies",
                    tooltip="The details, around mid grey: image - low frequencies + 0.5.",
                ),
            ],
        )

    @classmethod
    def execute(cls, image, low_pass):
        low = _filtered(low_pass, image)
        return io.NodeOutput(low, image - low + 0.5)


class MatchLowFrequencies(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="MatchLowFrequencies",
            display_name="Match Low Frequencies",
            description="An image with the colours and layout of a reference, exact in 8 bits, and "
            "with its own details: mends the colour shift of sampling, of upscaling or of a VAE.",
            search_aliases=[*WORDS, "color fix", "color match", "color shift", "wavelet", "颜色"],
            inputs=[
                io.Image.Input(
                    "image", tooltip="The image to mend; of a video, all frames, one by one."
                ),
                io.Image.Input(
                    "reference",
                    tooltip="Where the low frequencies come from. Any size of the image's shape; "
                    "several are used in turn over the batch.",
                ),
                LowPass.Input(
                    "low_pass",
                    tooltip="What is taken from the reference. A factor N takes what is left of it "
                    "at 1/N of its size.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the reference is matched: white matches it, black leaves the "
                    "image as it is. Any size.",
                ),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image, reference, low_pass, mask=None):
        if mask is not None:
            mask = mask.reshape(-1, 1, *mask.shape[-2:])
        frames = [
            _matched(image[i : i + 1], _item(reference, i), low_pass, _item(mask, i))
            for i in range(len(image))
        ]
        return io.NodeOutput(torch.cat(frames))


def _item(batch, i):
    """Item i of a batch that is used in turn, as a batch of one; None of None."""
    return None if batch is None else batch[i % len(batch)][None]


def _matched(image, reference, low_pass, mask):
    """One frame, rounded to 8 bits: SaveImage cuts off what is between two of its levels."""
    size = image.shape[1:3]
    if mask is not None:
        mask = F.interpolate(mask.float(), size, mode="area").clamp(0, 1)
    y = NoisedReference(_resized(from_host(reference), size), mask=mask)
    colours = to_host(match_low_frequencies(from_host(image), y, low_pass))
    return torch.cat([(colours * 255).round() / 255, image[..., 3:]], dim=-1)


def _resized(x, size):
    """x (1, C, h, w) at another size; ValueError for another shape, width to height."""
    (h, w), (height, width) = x.shape[-2:], size
    if abs(w * height / h - width) > 1 and abs(h * width / w - height) > 1:
        raise ValueError(
            f"The reference is {w} x {h} pixels and the image {width} x {height}; crop the "
            f"reference to the image's shape."
        )
    return (
        x if (h, w) == (height, width) else F.interpolate(x, size, mode="bicubic", antialias=True)
    )


def _filtered(low_pass, image):
    return low_pass(image.movedim(-1, -3)).movedim(-3, -1)  # BHWC -> BCHW -> BHWC
