"""LowPassFilter and ApplyLowPass."""

from comfy_api.latest import io, ui

from ..ilvr import low_pass as core
from .host.schema import LowPass, schema

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


def _filtered(low_pass, image):
    return low_pass(image.movedim(-1, -3)).movedim(-3, -1)  # BHWC -> BCHW -> BHWC
