"""LoadUnconditionalModel, DDPMSampler and RespacedScheduler."""

from comfy_api.latest import io

from ..ilvr.samplers import VARIANCES
from .host import adm_model
from .host.ddpm import ddpm_sampler, respaced_sigmas
from .host.schema import check_choice, schema

CHOICES = ["auto", *VARIANCES]


class LoadUnconditionalModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="LoadUnconditionalModel",
            display_name="Load Unconditional Model",
            description="A diffusion model of the ADM (guided-diffusion) or DDPM kind, of pixels "
            "or latents, for any sampler: those that come with the pack, or those in models/adm.",
            search_aliases=[
                "ilvr",
                "adm",
                "ddpm",
                "guided diffusion",
                "unconditional",
                "pixel space",
            ],
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=adm_model.checkpoints(),
                    tooltip="What the model has learnt to paint: the bundled ones paint "
                    "landscapes, of so many pixels as their names say.",
                ),
                io.Int.Input(
                    "class_label",
                    default=-1,
                    min=-1,
                    max=100000,
                    optional=True,
                    tooltip="Which class to paint, for a class-conditional model; -1 for a model "
                    "without classes.",
                ),
            ],
            outputs=[io.Model.Output(), io.Conditioning.Output(), io.Vae.Output()],
        )

    @classmethod
    def fingerprint_inputs(cls, checkpoint, class_label=-1):
        return adm_model.fingerprint(checkpoint)

    @classmethod
    def execute(cls, checkpoint, class_label=-1):
        model, vae = adm_model.load_with_vae(adm_model.checkpoint_path(checkpoint))
        label = None if class_label < 0 else class_label
        return io.NodeOutput(model, adm_model.conditioning(model, label), vae)


class DDPMSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="DDPMSampler",
            display_name="DDPM Sampler",
            description="Ancestral sampling as in guided-diffusion and the paper, with the "
            "variance that the model has learnt. Takes RespacedScheduler's sigmas, with cfg 1.",
            search_aliases=["ilvr", "ancestral", "learned variance", "guided diffusion"],
            inputs=[
                io.Combo.Input(
                    "variance",
                    options=CHOICES,
                    default="auto",
                    tooltip="How much noise every step adds: auto takes the learned one where the "
                    "model has it, else small. large gives rougher images.",
                ),
            ],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    def execute(cls, variance):
        check_choice("variance", variance, CHOICES)
        return io.NodeOutput(ddpm_sampler(None if variance == "auto" else variance))


class RespacedScheduler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RespacedScheduler",
            display_name="Respaced Scheduler",
            description="The noise levels of guided-diffusion's timestep_respacing.",
            search_aliases=["ilvr", "timestep respacing", "guided diffusion"],
            inputs=[
                io.Model.Input("model", tooltip="The model whose levels are used."),
                io.String.Input(
                    "respacing",
                    default="250",
                    tooltip="How many steps: a count; ddimN; or counts for equal parts of the "
                    "schedule, the part with least noise first, as 10,20,30. More steps give finer "
                    "images.",
                ),
            ],
            outputs=[io.Sigmas.Output()],
        )

    @classmethod
    def execute(cls, model, respacing):
        return io.NodeOutput(respaced_sigmas(model, respacing))
