"""Draws workflows/*.json from the definitions below, with the node types of a ComfyUI.

python -m scripts.workflows [NAME ...]    # draws those named, all if none is
python -m scripts.workflows --pictures    # and their thumbnails beside them
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.canvas import GROUP_GAP, Canvas
from scripts.thumbnails import card, thumbnail
from scripts.workflow_parts import (
    CLIP,
    FLOOR,
    LATENT_BELOW,
    SAMPLER,
    VAE,
    applied,
    example,
    follow,
    guided,
    karras,
    latent_below,
    load_model,
    noised,
    own_picture,
    prompt_between,
    prompts,
    reference,
    sample,
    sampled,
    saved,
    scaled,
    shown,
    stock_sampler,
    vae_below,
    vae_beside,
)  # fmt: skip
from tests.e2e.server import serving
from tests.e2e.workflows import FOLDER, prompt
from tests.hosts import hosts


@dataclass(frozen=True)
class Workflow:
    draw: Callable
    title: str
    note: str
    bundled: bool = True  # runs with what comes with the pack


def first_steps(c):
    follow(c, "render-sunset", 8, scale=False, seed=13)


def translation(c):
    model = load_model(c)
    c.column(230, GROUP_GAP)
    pictures = [
        c.add("ExampleReference", y, name=name)
        for y, name in ((130, "clip-art"), (240, "pixel-art"))
    ]
    c.column(240)
    both = c.add("ImageBatch", 180, image1=pictures[0]["IMAGE"], image2=pictures[1]["IMAGE"])
    small = scaled(c, both["IMAGE"])
    noise = noised(c, small["IMAGE"], vae_beside(model), batch_size=4)
    c.group("References", *pictures, both, small, noise)
    sample(c, model, noise, 8, seed=13)


def paint_to_image(c):
    follow(c, "clip-art-sunset", 16, seed=3)


def scribble_editing(c):
    follow(c, "scribble", 2, end=200, seed=4)


def inpainting(c):
    model = load_model(c)
    image = example(c, "masked-render")
    hole = c.add("ExampleReference", 420, name="mask")
    c.column(230)
    mask = c.add("ImageToMask", 420, image=hole["IMAGE"], channel="red")
    noise = noised(c, image["IMAGE"], vae_beside(model), mask=mask["MASK"], batch_size=4)
    c.group("Reference, and a mask of what is known", image, hole, mask, noise)
    sample(c, model, noise, 1, seed=13)


def super_resolution(c):
    model = load_model(c)
    image = example(c, "render-lake")
    small = scaled(c, image["IMAGE"], 16)
    small.heading = "Make it 16 pixels wide"
    large = scaled(c, small["IMAGE"], 64, method="nearest-exact")
    noise = noised(c, large["IMAGE"], vae_beside(model), batch_size=4)
    c.group("A small picture as the reference", image, small, large, noise)
    sample(c, model, noise, 4, seed=6, kernel="box")


def two_references(c):
    model = load_model(c)
    sky, ground = masked_references(c, model)
    *_, ilvr, sigmas = chained(c, sky, ground)
    vae = vae_beside(model, VAE, VAE + 560, 1290)
    parts = sampled(c, model, ilvr, sigmas, latent_below(c, ground, 1210), 7, vae)
    c.group("Result", *parts, saved(c, parts[-1]))


def masked_references(c, model):
    """The sky of one picture above, the ground of another below: a row each."""
    rows = (("render-sunset", 0, {"bottom": 40}), ("render-meadow", 560, {"top": 40}))
    images, masks = [], []
    c.column(230, GROUP_GAP)
    for name, y, _ in rows:
        images.append(c.add("ExampleReference", 190 + y, name=name))
        masks.append(c.add("SolidMask", 420 + y, value=1.0, width=64, height=64))
    c.column(230)
    soft = [
        c.add("FeatherMask", 420 + y, mask=mask["MASK"], **edge)
        for mask, (_, y, edge) in zip(masks, rows)
    ]
    c.column(270)
    references = []
    ways = vae_beside(model), vae_beside(model, VAE, VAE + 560)
    for image, mask, vae, (_, y, _) in zip(images, soft, ways, rows):
        follow = {"image": image["IMAGE"], "mask": mask["MASK"], "batch_size": 4}
        references.append(c.add("NoisedReference", 300 + y, vae=vae, **follow))
    for title, *nodes in zip(("Sky", "Ground"), images, masks, soft, references):
        c.group(title, *nodes)
    return references


def chained(c, *noises):
    """An ILVRSampler for each of two references, one after the other."""
    c.column(250, GROUP_GAP)
    first = c.add("KSamplerSelect", 200, sampler_name="dpmpp_2m")
    filters = [c.add("LowPassFilter", y, factor=4) for y in (370, 950)]
    samplers = [first]
    for y, noise, low_pass in zip((280, 840), noises, filters):
        c.column(230)
        follow = {"reference": noise["reference"], "low_pass": low_pass["low_pass"]}
        samplers.append(c.add("ILVRSampler", y, sampler=samplers[-1]["SAMPLER"], **follow))
    nodes = [*filters, *samplers, karras(c, 1050)]
    c.group("A sampler that follows both", *nodes)
    return nodes


def factors(c):
    sweep(c, "render-lake", "2, 4, 8, 16, 32", "0", "What each factor keeps", 14)


def ranges(c):
    ends = "0, 125, 250, 375, 500, 625, 750, 875"
    sweep(c, "render-meadow", "2", ends, "Where the range ends", 1)


def sweep(c, name, factors, ends, title, seed):
    model = load_model(c)
    image, noise = reference(c, model, name, scale=False, count=2)
    c.column(250, GROUP_GAP)
    sampler = c.add("KSamplerSelect", 200, sampler_name="dpmpp_2m")
    pairs = c.add("ILVRSweep", 370, factors=factors, ends=ends)
    c.column(250)
    guides = {name: pairs[name] for name in ("low_pass", "range")}
    ilvr = c.add(
        "ILVRSampler", 280, sampler=sampler["SAMPLER"], reference=noise["reference"], **guides
    )  # fmt: skip
    sigmas = karras(c)
    c.group("A sampler for each factor and range", sampler, pairs, ilvr, sigmas)
    noise.connect(vae=vae_beside(model).via((noise.x - 14, VAE)))
    vae = noise.values["vae"].via((noise.x - 14, FLOOR))
    parts = sampled(c, model, ilvr, sigmas, latent_below(c, noise), seed, vae)
    c.group("Result", *parts, *sheet(c, parts[-1], image, pairs, title))


def sheet(c, decoded, image, pairs, title):
    """A ContactSheet; its labels and the reference come below everything else."""

    def under(wire, floor, up, height):
        down, up = wire.node.right + 14, c.right + up
        return wire.via((down, 450), (down, floor), (up, floor), (up, height))

    compared = {
        "labels": under(pairs["label"], FLOOR + 40, 15, 80),
        "reference": under(image["IMAGE"], FLOOR + 80, 32, 100),
    }
    c.column(560)
    drawn = c.add("ContactSheet", 0, None, 480, images=decoded["IMAGE"], **compared, title=title)
    drawn.values["cell"] = 128
    c.column(400)
    return drawn, c.add("SaveImage", 0, None, 420, images=drawn["IMAGE"], filename_prefix="ilvr")


def low_pass_preview(c):
    image = example(c, "render-lake", 0)
    c.group("Picture", image)
    c.column(300, GROUP_GAP)
    low_pass = c.add("LowPassFilter", 130, None, 440, factor=8, image=image["IMAGE"])
    c.column(230)
    split = c.add("ApplyLowPass", 0, image=image["IMAGE"], low_pass=low_pass["low_pass"])
    c.group("What a factor keeps", low_pass, split)
    c.column(300, GROUP_GAP)
    kept = shown(c, "Kept: low frequencies", split["low frequencies"], 0, 300)
    free = shown(c, "Left to the model: high frequencies", split["high frequencies"], 370, 300)
    c.group("Both parts", kept, free)


def sampler_or_model(c):
    """Two whole graphs, one below the other."""
    model = load_model(c)
    _, noise = reference(c, model, "render-meadow", scale=False, count=1)
    *_, ilvr, sigmas = guided(c, noise, 8)
    *parts, last = sampled(c, model, ilvr, sigmas, latent_below(c, noise), 8)
    c.column(400)
    c.group("Result", *parts, last, shown(c, "By ILVRSampler", last["IMAGE"]))
    c.row(960)
    by_apply_ilvr(c)


def by_apply_ilvr(c):
    model = load_model(c)
    image = example(c, "render-meadow", 520)
    noise = noised(c, image["IMAGE"], None, 520, batch_size=1)
    c.group("Reference", image, noise)
    noise.connect(vae=vae_below(c, model, noise))
    nodes = applied(c, model["MODEL"], noise, 8)
    c.group("A model that follows it", *nodes)
    up = c.right + 50
    both = prompt_between(c, model, "CONDITIONING", (up, CLIP), (up, 110))
    latent, vae = latent_below(c, noise, LATENT_BELOW), noise.values["vae"]
    settings = {"seed": 8, "steps": 20, "cfg": 1.0} | SAMPLER
    *parts, last = stock_sampler(c, nodes[-1], (both, both), latent, vae, **settings)
    c.column(400)
    c.group("Result", *parts, last, shown(c, "By ApplyILVR", last["IMAGE"]))


def portrait(c):
    model = load_model(c, "ffhq_10m.pt")
    image = own_picture(c)
    small = scaled(c, image["IMAGE"], 256, method="lanczos")
    noise = noised(c, small["IMAGE"], None, batch_size=2)
    c.group("Reference", image, small, noise)
    vae = vae_beside(model, FLOOR).via((noise.x - 25, FLOOR))
    noise.connect(vae=vae)
    *_, ilvr, sigmas = guided(c, noise, 32)
    parts = sampled(c, model, ilvr, sigmas, latent_below(c, noise), 9, vae)
    c.group("Result", *parts, saved(c, parts[-1]))


def sd15(c):
    checkpoint_graph(c, SD15, 32, end=200, scale={"width": 512}, steps=25, cfg=7.0)


def sdxl(c):
    checkpoint_graph(c, SDXL, 64, end=200, scale={"width": 1024}, steps=25, cfg=6.0)


def upscale(c):
    checkpoint_graph(c, SDXL, 32, encode=True, steps=25, cfg=6.0, denoise=0.4)


def img2img(c):
    size = {"width": 512}
    checkpoint_graph(c, SD15, 32, scale=size, encode=True, steps=25, cfg=7.0, denoise=0.6)


def checkpoint_graph(c, file, factor, end=0, scale=None, encode=False, **settings):
    """A model of one file, from the reference's empty latent or, encoded, from its picture."""
    c.column(300, GROUP_GAP)
    model = c.add("CheckpointLoaderSimple", 0, ckpt_name=file)
    c.group("Model", model)
    noise, latent = own_reference(c, model, scale, encode)
    nodes = applied(c, model["MODEL"], noise, factor, end)
    clip = prompt_between(c, model, "CLIP", (c.left - 25, CLIP))
    texts = prompts(c, clip, PROMPT, NEGATIVE)
    c.group("What is followed, and the prompts", *nodes, *texts)
    conditions = [text["CONDITIONING"] for text in texts]
    latent = latent_below(c, noise, LATENT_BELOW, latent)
    settings = {"seed": 1, **SAMPLER, **settings}
    parts = stock_sampler(c, nodes[-1], conditions, latent, noise.values["vae"], **settings)
    c.group("Result", *parts, saved(c, parts[-1]))


def own_reference(c, model, scale, encode):
    """The NoisedReference of one's own picture, and the latent to start from."""
    image = own_picture(c, 500)
    if scale:
        scaled(c, image["IMAGE"], method="lanczos", y=520, **scale)
    else:
        c.column(270)
        twice = {"upscale_method": "lanczos", "scale_by": 2.0}
        c.add("ImageScaleBy", 520, image=image["IMAGE"], **twice)
    sized = c.nodes[-1]
    noise = noised(c, sized["IMAGE"], None, 520)
    vae = vae_below(c, model, noise)
    noise.connect(vae=vae)
    nodes = [image, sized, noise]
    if encode:
        nodes.append(c.add("VAEEncode", 770, pixels=sized["IMAGE"], vae=vae))
    c.group("Reference", *nodes)
    return noise, nodes[-1]["LATENT" if encode else "latent"]


def flux(c):
    model = loaded(c, "flux1-dev.safetensors")
    noise = split_reference(c, "ae.safetensors", {"width": 1024})
    nodes = applied(c, model["MODEL"], noise, 64, 200)
    files = {"clip_name1": "clip_l.safetensors", "clip_name2": "t5xxl_fp8_e4m3fn.safetensors"}
    texts = split_prompts(c, nodes, "DualCLIPLoader", files | {"type": "flux"}, PROMPT)
    c.column(220)
    strength = c.add("FluxGuidance", 230, conditioning=texts[0]["CONDITIONING"], guidance=3.5)
    c.group("What is followed, and the prompt", *c.nodes[-6:])
    conditions = [strength["CONDITIONING"]] * 2
    latent = latent_below(c, noise, LATENT_BELOW)
    parts = stock_sampler(c, nodes[-1], conditions, latent, noise.values["vae"], **FLOW, cfg=1.0)
    c.group("Result", *parts, saved(c, parts[-1]))


def wan(c):
    model = loaded(c, "wan2.1_t2v_1.3B_fp16.safetensors", 8.0)
    noise = split_reference(c, "wan_2.1_vae.safetensors", {"width": 832, "height": 480}, length=33)
    nodes = applied(c, model["MODEL"], noise, 64, 200)
    files = {"clip_name": "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "type": "wan"}
    texts = split_prompts(c, nodes, "CLIPLoader", files, VIDEO_PROMPT, NEGATIVE)
    c.group("What is followed, and the prompts", *c.nodes[-6:])
    conditions = [text["CONDITIONING"] for text in texts]
    latent = latent_below(c, noise, LATENT_BELOW)
    parts = stock_sampler(c, nodes[-1], conditions, latent, noise.values["vae"], **FLOW, cfg=6.0)
    c.column(400)
    file = {"filename_prefix": "ilvr", "fps": 16.0, "lossless": False, "quality": 80}
    video = c.add("SaveAnimatedWEBP", 0, None, 480, images=parts[-1]["IMAGE"], **file)
    c.group("Result", *parts, video)


def loaded(c, file, shift=None):
    """A model of a file of its own."""
    c.column(330, GROUP_GAP)
    nodes = [c.add("UNETLoader", 0, unet_name=file)]
    if shift:
        c.column(230)
        nodes.append(c.add("ModelSamplingSD3", 0, model=nodes[0]["MODEL"], shift=shift))
    c.group("Model", *nodes)
    return nodes[-1]


def split_reference(c, vae_file, size, **options):
    """The NoisedReference of one's own picture, with a VAE of a file of its own."""
    image = own_picture(c, 430)
    vae = c.add("VAELoader", 820, vae_name=vae_file)
    sized = scaled(c, image["IMAGE"], method="lanczos", y=520, **size)
    noise = noised(c, sized["IMAGE"], None, 520, **options)
    noise.connect(vae=vae_below(c, vae, noise))
    c.group("Reference", image, vae, sized, noise)
    return noise


def split_prompts(c, applied, loader, files, *texts):
    """Prompts by a text encoder of a file of its own, below what is followed."""
    low_pass, _, guided = applied
    c.left, c.right = low_pass.x, low_pass.right
    clip = c.add(loader, 460, **files)
    c.left, c.right = guided.x, guided.right
    return prompts(c, clip["CLIP"], *texts)


SD15, SDXL = "v1-5-pruned-emaonly-fp16.safetensors", "sd_xl_base_1.0.safetensors"
PROMPT = "a photograph with fine detail, natural light"
VIDEO_PROMPT = "a film of a quiet scene, natural light, slow movement"
NEGATIVE = "blurry, distorted, low quality"
FLOW = {"seed": 1, "steps": 20, "sampler_name": "euler", "scheduler": "simple"}
WORKFLOWS = {
    "first-steps": Workflow(
        first_steps,
        "First steps",
        "Four new landscapes with the colours and the layout of a picture.\n"
        "A larger factor keeps less of it; a range that ends above 0 leaves it earlier.\n"
        "Press Run: the model and the picture come with the pack.",
    ),
    "factors": Workflow(
        factors,
        "Which factor?",
        "One run samples every factor and lays out the results, two of each.\n"
        "Fig. 4 of the paper, whose factors 8, 16, 32 and 64 are 2, 4, 8 and 16 here:\n"
        "its pictures are of 256 pixels and this model's of 64.",
    ),
    "ranges": Workflow(
        ranges,
        "Which range?",
        "One run follows the reference from 1000 to each of these timesteps.\n"
        "Fig. 5 of the paper, whose factor 8 is 2 here: a quarter of the size.\n"
        "Below 500 steps of following, the picture departs from the reference.",
    ),
    "translation": Workflow(
        translation,
        "Translation",
        "Clip art and pixel art become landscapes, two of each.\n"
        "The paper's factor 32 is 8 here: its pictures have 256 pixels, this model's 64.",
    ),
    "paint-to-image": Workflow(
        paint_to_image,
        "Paint to image",
        "Only the colours and the composition of a drawing are kept.\n"
        "The paper's factor 64 is 16 here: its pictures have 256 pixels, this model's 64.",
    ),
    "scribble-editing": Workflow(
        scribble_editing,
        "Editing with scribbles",
        "What was painted over a picture becomes part of it.\n"
        "The range ends at 200, so that the last steps can blend it in.\n"
        "The paper's factor 8 is 2 here: its pictures have 256 pixels, this model's 64.",
    ),
    "inpainting": Workflow(
        inpainting,
        "Inpainting",
        "The mask is white where the picture is known and black where it is not.\n"
        "Factor 1 keeps what is known as it is.",
    ),
    "super-resolution": Workflow(
        super_resolution,
        "Super-resolution",
        "Four pictures of 64 pixels that all have the same 16 pixels.\n"
        "Enlarged without blending and with kernel box, every mean of 4 x 4 is one of those.",
    ),
    "two-references": Workflow(
        two_references,
        "Two references",
        "The sky of one picture above the ground of another.\n"
        "Each has a mask, white where it is followed, and an ILVRSampler; these are chained.",
    ),
    "low-pass-preview": Workflow(
        low_pass_preview,
        "What a factor keeps",
        "The filter splits the picture into what ILVR keeps of it\n"
        "and what it leaves to the model. Change the factor and run again.",
    ),
    "sampler-or-model": Workflow(
        sampler_or_model,
        "Two ways, one picture",
        "Above, ILVRSampler guides a sampler for SamplerCustom;\n"
        "below, ApplyILVR guides a model for the stock KSampler.\n"
        "With the same seed and noise levels the pixels are the same.",
    ),
    "sd15-keep-layout": Workflow(
        sd15,
        "Keep colours and layout, renew the rest (SD 1.5)",
        "v1-5-pruned-emaonly-fp16.safetensors belongs into models/checkpoints.\n"
        "A larger factor keeps less: 16 shapes, 32 the layout, 128 hardly more than colours.\n"
        "The range ends at 200: the last steps are free to draw clean details.",
        bundled=False,
    ),
    "sdxl-keep-layout": Workflow(
        sdxl,
        "Keep colours and layout, renew the rest (SDXL)",
        "sd_xl_base_1.0.safetensors belongs into models/checkpoints.\n"
        "A larger factor keeps less: 32 shapes, 64 the layout, 256 hardly more than colours.\n"
        "The range ends at 200: the last steps are free to draw clean details.",
        bundled=False,
    ),
    "flux-keep-layout": Workflow(
        flux,
        "Keep colours and layout, renew the rest (Flux)",
        "diffusion_models: flux1-dev.safetensors; vae: ae.safetensors; text_encoders:\n"
        "clip_l.safetensors and t5xxl_fp8_e4m3fn.safetensors, all of them in models.\n"
        "A larger factor keeps less of the picture.",
        bundled=False,
    ),
    "wan-keep-layout": Workflow(
        wan,
        "Keep colours and layout in a video (Wan 2.1)",
        "diffusion_models: wan2.1_t2v_1.3B_fp16.safetensors; vae: wan_2.1_vae.safetensors;\n"
        "text_encoders: umt5_xxl_fp8_e4m3fn_scaled.safetensors, all of them in models.\n"
        "One picture is held for all 33 frames; the frames of a video can be the reference too.",
        bundled=False,
    ),
    "upscale-no-colour-shift": Workflow(
        upscale,
        "Upscale with no colour shift (SDXL)",
        "sd_xl_base_1.0.safetensors belongs into models/checkpoints.\n"
        "New details for a picture enlarged twice; its colours stay, as the range ends at 0.\n"
        "A larger denoise draws more anew, a larger factor lets shapes move.",
        bundled=False,
    ),
    "img2img-keep-layout": Workflow(
        img2img,
        "Image to image that keeps colours and layout (SD 1.5)",
        "v1-5-pruned-emaonly-fp16.safetensors belongs into models/checkpoints.\n"
        "KSampler starts from the picture at denoise 0.6; ILVR holds its colours and layout\n"
        "through all of the steps that are left.",
        bundled=False,
    ),
    "portrait-to-photo": Workflow(
        portrait,
        "From a portrait to a photo (ADM)",
        "A face model of the ADM kind, such as ilvr_adm's ffhq_10m.pt, belongs into models/adm.\n"
        "A painted portrait as the reference becomes a photo with its colours and pose.\n"
        "Factor 32 is the paper's for 256 pixels.",
        bundled=False,
    ),
}


def drawn(name: str, info: dict) -> dict:
    """The workflow as the canvas saves it, with the node types of a host's /object_info."""
    canvas, workflow = Canvas(info, name), WORKFLOWS[name]
    workflow.draw(canvas)
    canvas.note(0, -230, 760, workflow.title, workflow.note)
    return canvas.json()


def pictured(server, name, workflow, info):
    if WORKFLOWS[name].bundled:
        return thumbnail(server, prompt(workflow, info))
    return card(workflow, WORKFLOWS[name].title)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--pictures", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as files, serving(hosts()[0], Path(files)) as server:
        info = json.loads(server.get("/object_info"))
        for name in options.names or WORKFLOWS:
            workflow = drawn(name, info)
            (FOLDER / f"{name}.json").write_text(json.dumps(workflow, indent=1) + "\n")
            if options.pictures:
                picture = pictured(server, name, workflow, info)
                picture.save(FOLDER / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main()
