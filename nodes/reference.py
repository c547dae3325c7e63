"""NoisedReference and ExampleReference."""

import logging
from pathlib import Path

import torch.nn.functional as F
from comfy_api.latest import io

from ..ilvr import image as pictures
from ..ilvr.reference import NOISES
from .host.reference import EncodedReference, empty_latent, encode
from .host.schema import Reference, check_choice, schema, to_host

EXAMPLES = Path(pictures.__file__).parent / "assets" / "references"
MAX_SEED = 2**64 - 1


class NoisedReference(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="NoisedReference",
            display_name="Noised Reference",
            description="The picture whose low frequencies the image follows, and an empty latent "
            "of its size.",
            search_aliases=["ilvr", "reference", "color fix", "structure"],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The reference. Several are used in turn over the batch; for a video "
                    "model they are its frames, and one alone is all of them.",
                ),
                io.Vae.Input("vae", tooltip="The VAE of the model that samples."),
                io.Combo.Input(
                    "noise",
                    options=list(NOISES),
                    default="fresh",
                    tooltip="fresh: new noise on the reference at every step, as in the paper, for "
                    "more varied details. fixed: one noise for all steps.",
                ),
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="How many images the empty latent asks for.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the reference is followed: white follows it, black is left to "
                    "the model; for a video, one for all frames or one for each. Any size. "
                    "SetLatentNoiseMask is the other way round: white is painted anew.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    optional=True,
                    force_input=True,
                    tooltip="Seed of the reference's noise; the sampler's if not connected. Give "
                    "one where sampling is split over several samplers.",
                ),
                io.Int.Input(
                    "length",
                    default=1,
                    min=1,
                    max=16384,
                    optional=True,
                    tooltip="For a video model: how many frames a single picture is held for. "
                    "Several pictures are the frames themselves.",
                ),
            ],
            outputs=[
                Reference.Output(display_name="reference"),
                io.Latent.Output(
                    display_name="latent", tooltip="Empty, of the reference's size, to sample from."
                ),
            ],
        )

    @classmethod
    def execute(cls, image, vae, noise, batch_size, mask=None, seed=None, length=1):
        check_choice("noise", noise, NOISES)
        if mask is not None and not mask.any():
            logging.warning(
                "NoisedReference: the mask is black all over, so that nothing is followed; "
                "LoadImage gives such a mask where nothing was painted: disconnect it."
            )
        samples, pictures = encode(vae, image[..., :3], length)
        compression = vae.spacial_compression_encode()
        reference = EncodedReference(samples, compression, noise, mask, seed, pictures)
        return io.NodeOutput(reference, empty_latent(samples, batch_size))


class ExampleReference(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            node_id="ExampleReference",
            display_name="Example Reference",
            description="A reference picture that comes with the pack.",
            search_aliases=["ilvr", "example", "test image", "sample picture"],
            inputs=[
                io.Combo.Input(
                    "name",
                    options=_examples(),
                    default="render-lake",
                    tooltip="Which picture; they fit the bundled model of landscapes.",
                ),
                io.Int.Input(
                    "size",
                    default=64,  # of graphs that were saved before it had a size
                    min=16,
                    max=1024,
                    step=8,
                    optional=True,
                    tooltip="Its width and height: those that the model was trained for, which "
                    "are 256 pixels for landscapes-256.",
                ),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, name, size=None):
        check_choice("example", name, _examples())
        image = pictures.to_tensor(pictures.open_image(EXAMPLES / f"{name}.png"))
        return io.NodeOutput(to_host(image if size is None else _sized(image, size)))


def _sized(image, size):
    """A square picture, made smaller as ImageScale's area does it, or larger."""
    method = "area" if size < image.shape[-1] else "bicubic"
    return F.interpolate(image, (size, size), mode=method).clamp(-1, 1)


def _examples():
    return sorted(path.stem for path in EXAMPLES.glob("*.png"))
