"""ConditioningRange, ILVRSampler and ApplyILVR."""

from comfy_api.latest import io

from ..ilvr import guidance as core
from ..ilvr.samplers import STARTS
from .host.sampler import Guide, apply, guided
from .host.schema import LowPass, Range, Reference, check_choice, schema

FORMS = ["auto", *core.GUIDES]
WORDS = ["ilvr", "reference", "structure", "color fix"]
PURPOSES = [  # for which ApplyILVR is to be found first
    "tile colorfix", "keep composition", "keep colors", "layout", "img2img", "image to image",
    "upscale", "tile upscale", "relight", "color match", "构图", "颜色", "重绘", "图生图", "放大",
]  # fmt: skip


class ConditioningRange(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="ConditioningRange",
            display_name="Conditioning Range",
            description="The part of sampling in which the reference is followed.",
            search_aliases=["ilvr", "start end", "timestep range"],
            inputs=[
                io.Float.Input(
                    "start",
                    default=1000,
                    min=0,
                    max=1000,
                    step=1,
                    tooltip="Timestep from which the reference is followed; 1000 is pure noise. "
                    "Lower it to let the model choose the composition first.",
                ),
                io.Float.Input(
                    "end",
                    default=0,
                    min=0,
                    max=1000,
                    step=1,
                    tooltip="Timestep down to which it is followed; 0 is the finished image. Raise "
                    "it to let the model depart from the reference's colours and shapes. lms, "
                    "ipndm, ipndm_v, deis and gradient_estimation, also its cfg_pp form, go too "
                    "far for a step or two below it.",
                ),
            ],
            outputs=[Range.Output(display_name="range")],
        )

    @classmethod
    def execute(cls, start, end):
        return io.NodeOutput(core.ConditioningRange(start, end))


def _guide_inputs():
    return [
        Reference.Input(
            "reference",
            optional=True,
            tooltip="The picture to follow, from NoisedReference; the latent that is sampled if "
            "not connected: in a tiled upscaler or a detailer each tile follows itself.",
        ),
        LowPass.Input(
            "low_pass",
            tooltip="What is followed of it, from LowPassFilter: the larger its factor, the less.",
        ),
        Range.Input(
            "range",
            optional=True,
            tooltip="When the reference is followed, from ConditioningRange; all along if not "
            "connected.",
        ),
        io.Combo.Input(
            "guide",
            options=FORMS,
            default="auto",
            optional=True,
            tooltip="state: the noisy image itself follows the reference, as in the paper. "
            "prediction: the predicted image does, which any sampler and a strength below 1 take. "
            "auto: the state where it can be.",
        ),
        io.Float.Input(
            "strength",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="How much of the difference to the reference goes away; below 1 colours and "
            "layout lie between the model's own and the reference's. Not with guide state.",
        ),
        io.Combo.Input(
            "start",
            options=list(STARTS),
            default="noise",
            optional=True,
            tooltip="noise: all steps are taken, as in the paper. reference: those in which the "
            "reference has decided everything are left out, about half of them, and the picture is "
            "as good.",
        ),
    ]


def _guide(reference, low_pass, range, guide, strength, start):
    check_choice("guide", guide, FORMS)
    check_choice("start", start, STARTS)
    return Guide(reference, low_pass, range or core.ConditioningRange(), guide, strength, start)


class ILVRSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="ILVRSampler",
            display_name="ILVR Sampler",
            description="A sampler whose images keep the low frequencies of a reference: its "
            "colours and layout, with the model's own details. Chain several for several "
            "references.",
            search_aliases=WORDS,
            inputs=[
                io.Sampler.Input(
                    "sampler", tooltip="The sampler to guide, such as KSamplerSelect's euler."
                ),
                *_guide_inputs(),
            ],
            outputs=[io.Sampler.Output(tooltip="For SamplerCustom and SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(
        cls, sampler, low_pass, reference=None, range=None, guide="auto", strength=1.0,
        start="noise",
    ):  # fmt: skip
        guide = _guide(reference, low_pass, range, guide, strength, start)
        return io.NodeOutput(guided(sampler, guide))


class ApplyILVR(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="ApplyILVR",
            display_name="Apply ILVR",
            description="A model whose images, by any KSampler, keep the low frequencies of a "
            "reference: its colours and layout, with the model's own details. Chain several for "
            "several references.",
            search_aliases=[*WORDS, *PURPOSES],
            inputs=[
                io.Model.Input("model", tooltip="The model to guide."),
                *_guide_inputs(),
            ],
            outputs=[io.Model.Output(tooltip="For KSampler and KSamplerAdvanced.")],
        )

    @classmethod
    def execute(
        cls, model, low_pass, reference=None, range=None, guide="auto", strength=1.0,
        start="noise",
    ):  # fmt: skip
        guide = _guide(reference, low_pass, range, guide, strength, start)
        return io.NodeOutput(apply(model, guide))
