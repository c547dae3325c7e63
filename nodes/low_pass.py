"""LowPassFilter, BandPassFilter, ApplyLowPass and MatchLowFrequencies."""

import math

import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui

from ..ilvr import NoisedReference, match_low_frequencies
from ..ilvr import low_pass as core
from .host.schema import LowPass, from_host, schema, to_host

WORDS = ["ilvr", "low pass", "blur", "downsample", "frequency"]


MAX_FACTOR = 16384


def _kernel(optional=False):
    return io.Combo.Input(
        "kernel",
        options=list(core.KERNELS),
        default="cubic",
        optional=optional,
        tooltip="How pixels are averaged. cubic is the paper's; lanczos keeps edges "
        "sharper, linear and box soften them.",
    )


def filter_inputs(optional=False):
    return [
        _kernel(optional),
        io.Boolean.Input(
            "exact",
            default=True,
            optional=optional,
            tooltip="On: the image made smaller equals the reference made smaller. Off: "
            "the paper's filter, which comes only near it.",
        ),
    ]


def _later_inputs():
    return [
        io.Image.Input(
            "image",
            optional=True,
            tooltip="Shown on the node as the filter leaves it, to choose a factor by eye.",
        ),
        io.Combo.Input(
            "channels",
            options=list(core.CHANNELS),
            default="all",
            optional=True,
            tooltip="What of it is kept: all, the luminance alone or the colour alone; those two "
            "on the models of LoadUnconditionalModel, other latents refuse them.",
        ),
        io.Int.Input(
            "frames",
            default=1,
            min=1,
            max=MAX_FACTOR,
            optional=True,
            tooltip="Of a video: 1 keeps it in each frame; more, only what changes no faster than "
            "within so many frames; the video's length or more, only what all frames share.",
        ),
    ]


def _output(cls, low_pass, image):
    """The filter, and the image as it leaves it, around mid grey where it takes the mean away."""
    if image is None:
        return io.NodeOutput(low_pass)
    shown = _kept(low_pass, image)[0].clamp(0, 1)
    return io.NodeOutput(low_pass, ui=ui.PreviewImage(shown, cls=cls))


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
                    max=MAX_FACTOR,
                    step=0.5,
                    tooltip="How many times smaller the reference is made, in image pixels. Small "
                    "factors keep shapes and colours, large ones the colours of large areas; one "
                    "above the image's size keeps the mean colour alone.",
                ),
                *filter_inputs(),
                *_later_inputs(),
            ],
            outputs=[LowPass.Output(display_name="low_pass")],
        )

    @classmethod
    def execute(cls, factor, kernel, exact, image=None, channels="all", frames=1):
        return _output(cls, core.LowPassFilter(factor, kernel, exact, channels, frames), image)


class BandPassFilter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="BandPassFilter",
            display_name="Band-Pass Filter",
            description="What an image keeps of its reference: the detail between two factors. "
            "From 1 up, the same picture in another light.",
            search_aliases=[
                *WORDS, "band pass", "high pass", "relight", "recolor", "detail", "lighting",
            ],
            inputs=[
                io.Float.Input(
                    "finest",
                    default=1,
                    min=1,
                    max=MAX_FACTOR,
                    step=0.5,
                    tooltip="The finest detail that is kept, in image pixels, as LowPassFilter's "
                    "factor: 1 keeps all of it, 4 leaves the grain to the model.",
                ),
                io.Float.Input(
                    "coarsest",
                    default=32,
                    min=1,
                    max=MAX_FACTOR,
                    step=0.5,
                    tooltip="The coarsest that is kept: what is larger, such as light and large "
                    "areas of colour, the model chooses anew. Above the image's size it chooses "
                    "the mean colour alone; at its end, 16384, nothing.",
                ),
                _kernel(),
                *_later_inputs(),
            ],
            outputs=[LowPass.Output(display_name="low_pass")],
        )  # fmt: skip

    @classmethod
    def execute(cls, finest, coarsest, kernel, image=None, channels="all", frames=1):
        end = math.inf if coarsest == MAX_FACTOR else coarsest
        return _output(cls, core.BandPassFilter(finest, end, kernel, channels, frames), image)


class ApplyLowPass(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="ApplyLowPass",
            display_name="Apply Low-Pass",
            description="Splits an image into what a filter keeps and the rest.",
            search_aliases=[*WORDS, "high pass", "detail", "frequency separation"],
            inputs=[
                io.Image.Input("image", tooltip="The image to split."),
                LowPass.Input(
                    "low_pass", tooltip="The filter, from LowPassFilter or BandPassFilter."
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="low frequencies",
                    tooltip="What ILVR keeps: colours and layout, or a band around mid grey.",
                ),
                io.Image.Output(
                    display_name="high frequencies",
                    tooltip="The rest: image - low frequencies + 0.5. Around mid grey, unless a "
                    "band is kept.",
                ),
            ],
        )

    @classmethod
    def execute(cls, image, low_pass):
        return io.NodeOutput(*_kept(low_pass, image))


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
                    "image",
                    tooltip="The image to mend; of a video, all frames, one by one, or together "
                    "where the filter's frames say so.",
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
        numbers = torch.arange(len(image))
        clips = numbers[None] if low_pass.frames > 1 else numbers[:, None]
        matched = [
            _matched(image[clip], _items(reference, clip), low_pass, _items(mask, clip))
            for clip in clips
        ]
        return io.NodeOutput(torch.cat(matched))


def _items(batch, numbers):
    """Items of a batch that is used in turn; None of None."""
    return None if batch is None else batch[numbers % len(batch)]


def _matched(image, reference, low_pass, mask):
    """A frame, or a clip that is filtered along time too (T, H, W, C), rounded to 8 bits: SaveImage
    cuts off what is between two of its levels."""
    size = image.shape[1:3]
    if mask is not None:
        mask = _as_clip(F.interpolate(mask.float(), size, mode="area").clamp(0, 1))
    y = NoisedReference(_as_clip(_resized(from_host(reference), size)), mask=mask)
    matched = match_low_frequencies(_as_clip(from_host(image)), y, low_pass)
    colours = to_host(matched[0].movedim(1, 0))
    return torch.cat([(colours * 255).round() / 255, image[..., 3:]], dim=-1)


def _as_clip(x):
    return x.movedim(0, 1)[None]  # T C H W -> 1 C T H W


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


def _kept(low_pass, image):
    """What a filter keeps of images, or of a clip, and the rest; what has no mean of its own lies
    around mid grey, and both together are the image + 0.5."""
    kept = low_pass(image.movedim(-1, 0)[None])[0].movedim(0, -1)  # THWC -> 1CTHW -> THWC
    if not low_pass.keeps_mean:
        kept = kept + 0.5
    return kept, image - kept + 0.5
