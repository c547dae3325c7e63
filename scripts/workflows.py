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

from scripts.canvas import COLLAPSED, GROUP_GAP, Canvas
from scripts.thumbnails import card, thumbnail
from scripts.workflow_parts import (
    FLOOR,
    FLOOR_BELOW,
    LANDSCAPES,
    LATENT,
    LATENT_BELOW,
    REFERENCE,
    SAMPLER,
    VAE,
    applied,
    collapsed,
    example,
    follow,
    guided,
    karras,
    latent_below,
    load_model,
    noised,
    own_picture,
    prompts,
    raised,
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
from tooling.canvas import FOLDER, prompt
from tooling.hosts import hosts, pack, why_no_pack
from tooling.server import serving
from tooling.tiles import UPSCALER


@dataclass(frozen=True)
class Workflow:
    draw: Callable
    title: str
    note: str
    bundled: bool = True  # runs with what comes with the pack
    pack: str | None = None  # other people's that it needs


def first_steps(c):
    follow(c, "render-sunset", 8, scale=False, seed=13)


def translation(c):
    model = load_model(c)
    c.column(230, GROUP_GAP)
    pictures = [
        c.add("ExampleReference", y, name=name)
        for y, name in ((130, "clip-art"), (250, "pixel-art"))
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
    follow = chained(c, sky, ground)
    vae = vae_beside(model, VAE, VAE + 560, 1290)
    parts = sampled(c, model, follow, latent_below(c, ground, 1210), 7, vae)
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
    sigmas = karras(c, 1050)
    c.group("A sampler that follows both", *filters, *samplers, sigmas.node)
    return samplers[-1]["SAMPLER"], sigmas


def factors(c):
    sweep(c, "render-lake", "2, 4, 8, 16, 32", "0", "What each factor keeps", 14)


def ranges(c):
    ends = "0, 125, 250, 375, 500, 625, 750, 875"
    sweep(c, "render-meadow", "2", ends, "Where the range ends", 1)


def sweep(c, name, factors, ends, title, seed):
    """The sheet's labels and reference run below everything else; for no wire to be in their way,
    the model is loaded once more and the latent comes from a node of its own."""
    model = load_model(c)
    image = example(c, name, 200)
    c.column(COLLAPSED)
    noise = collapsed(c, image["IMAGE"])
    noise.connect(vae=model["VAE"].via((model.right + 60, 135)))
    c.group("Reference", image, noise)
    c.column(250, GROUP_GAP)
    pairs = c.add("ILVRSweep", 170, factors=factors, ends=ends)
    again, guided, latent = swept(c, model, noise, pairs)
    both = again["CONDITIONING"].via((again.right + 25, 175), (guided.right + 25, 175))
    vae = again["VAE"].via((again.right + 25, 400))
    settings = {"seed": seed, "steps": 20, "cfg": 1.0} | SAMPLER
    parts = stock_sampler(c, guided, (both, both), latent["LATENT"], vae, **settings)
    c.group("Result", *parts, *sheet(c, parts[-1], image, pairs, title))


def swept(c, model, noise, pairs):
    """A model for each pair, and all else that a KSampler takes."""
    c.column(270)
    file = {"checkpoint": LANDSCAPES}
    again = c.add("LoadUnconditionalModel", 270, "Its conditioning and VAE", **file)
    c.column(320)
    guides = {name: pairs[name] for name in ("low_pass", "range")}
    guides["reference"] = noise["reference"].via((pairs.x - 30, REFERENCE))
    guided = c.add("ApplyILVR", 0, model=model["MODEL"], **guides)
    size = {"width": 64, "height": 64, "batch_size": 2}
    latent = c.add("EmptyChromaRadianceLatentImage", 240, "Empty latent of 64 pixels", **size)
    c.group("A model for each factor and range", pairs, again, guided, latent)
    return again, guided, latent


def sheet(c, decoded, image, pairs, title):
    """A ContactSheet; its labels and the reference come below everything else."""

    def under(wire, floor, up, height):
        down, up = wire.node.right + 15, c.right + up
        return wire.via((down, 250), (down, floor), (up, floor), (up, height))

    compared = {
        "labels": under(pairs["label"], 440, 15, 80),
        "reference": under(image["IMAGE"], 480, 32, 100),
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
    follow = guided(c, noise["reference"], 8)
    *parts, last = sampled(c, model, follow, latent_below(c, noise), 8)
    c.column(400)
    c.group("Result", *parts, last, shown(c, "By ILVRSampler", last["IMAGE"]))
    c.row(960)
    by_apply_ilvr(c)


def by_apply_ilvr(c):
    """The model is loaded once more, for its conditioning to be on this side of the reference."""
    model = load_model(c)
    _, noise = reference(c, model, "render-meadow", scale=False, count=1)
    nodes = applied(c, model["MODEL"], noise, 8)
    *parts, last = by_ksampler(c, "A model that follows it", model, noise, nodes, 8)
    c.column(400)
    c.group("Result", *parts, last, shown(c, "By ApplyILVR", last["IMAGE"]))


def by_ksampler(c, title, model, noise, nodes, seed):
    """KSampler and VAEDecode behind the nodes of ApplyILVR, which the title is of."""
    again = c.add("LoadUnconditionalModel", 240, "Its conditioning", checkpoint=LANDSCAPES)
    c.group(title, *nodes, again)
    latent, vae = latent_below(c, noise, 450), vae_beside(model, VAE, 520)
    settings = {"seed": seed, "steps": 20, "cfg": 1.0} | SAMPLER
    return stock_sampler(c, nodes[-1], [again["CONDITIONING"]] * 2, latent, vae, **settings)


def relight(c):
    kept(c, "render-lake", "BandPassFilter", 13, finest=1, coarsest=32)


def recolour(c):
    kept(c, "render-meadow", "LowPassFilter", 3, factor=1, channels="luminance")


def kept(c, name, low_pass, seed, **what):
    """A bundled picture of which a filter keeps something else than the low frequencies."""
    model = load_model(c)
    _, noise = reference(c, model, name, scale=False)
    knot = (noise.right + 30, REFERENCE)
    c.column(250, GROUP_GAP)
    kept = c.add(low_pass, 130, **what)
    c.column(320)
    follow = {"low_pass": kept["low_pass"], "reference": noise["reference"].via(knot)}
    nodes = [kept, c.add("ApplyILVR", 0, model=model["MODEL"], **follow)]
    parts = by_ksampler(c, "What is kept of it", model, noise, nodes, seed)
    c.group("Result", *parts, saved(c, parts[-1]))


def portrait(c):
    model = load_model(c, "ffhq_10m.pt")
    noise = own_reference(c, model, 256, batch_size=2)
    follow = guided(c, noise["reference"], 32)
    parts = sampled(c, model, follow, latent_below(c, noise), 9, noise.values["vae"])
    c.group("Result", *parts, saved(c, parts[-1]))


def own_reference(c, model, width, **options):
    """The NoisedReference of one's own picture."""
    image = own_picture(c)
    small = scaled(c, image["IMAGE"], width, method="lanczos")
    noise = noised(c, small["IMAGE"], None, **options)
    vae = model["VAE"].via((model.right + 30, 110))
    noise.connect(vae=vae_below(c, vae, noise, FLOOR))
    c.group("Reference", image, small, noise)
    return noise


def sd15(c):
    new_picture(c, SD15, 512, 32, cfg=7.0)


def sdxl(c):
    new_picture(c, SDXL, 1024, 64, cfg=6.0)


def new_picture(c, file, width, factor, cfg):
    """With the colours and the layout of one's own, by a model of one file."""
    model, texts = checkpoint(c, file)
    c.top = BELOW_PROMPTS
    noise = own_reference(c, model, width)
    follow = guided(c, noise["reference"], factor, end=200, **LEVELS, steps=25)
    latent, vae = latent_below(c, noise), noise.values["vae"]
    finished(c, model, texts, follow, latent, vae, cfg)


def upscale(c):
    """From one's own picture, which is the reference too, by a model of one file."""
    model, texts = checkpoint(c, SDXL)
    c.top = BELOW_PROMPTS
    noise, start = encoded(c, model)
    (turn,) = c.points((start.right + 60, 314))
    reference = noise["reference"].via((start.right + 30, noise.y - 15), turn)
    follow = guided(c, reference, 32, **LEVELS, denoise=0.4, steps=60)
    latent = latent_below(c, start, LATENT, start["LATENT"])
    finished(c, model, texts, follow, latent, start.values["vae"], cfg=6.0)


def encoded(c, model):
    """One's own picture, twice as large, as the reference, and below it as the latent to start
    from. The VAE comes from above and from below."""
    image = own_picture(c, 210)
    c.column(270)
    sized = c.add("ImageScaleBy", 210, image=image["IMAGE"], **TWICE)
    c.column(270)
    noise = collapsed(c, sized["IMAGE"])
    start = c.add("VAEEncode", 300, pixels=sized["IMAGE"])
    above = model["VAE"].via(*c.points((model.right + 30, 135)))
    noise.connect(vae=above)
    start.connect(vae=above.via(*c.points((model.right + 30, FLOOR), (start.x - 25, FLOOR))))
    c.group("Reference, and the picture to start from", image, sized, noise, start)
    return noise, start


def img2img(c):
    """ComfyUI's own graph and two nodes; the picture stands below the model."""
    c.column(280)
    model = c.add("CheckpointLoaderSimple", 0, ckpt_name=SD15)
    c.group("Model", model)
    image = c.add("LoadImage", 556, None, LEAST_PICTURE, image="example.png")
    vae = model["VAE"].via((model.right + 25, 54), (model.right + 25, 730))
    low_pass, follow, *texts = two_nodes(c, model, 32)

    c.left, c.right = low_pass.x, low_pass.right
    size = {"upscale_method": "lanczos", "width": 512, "height": 512, "crop": "center"}
    sized = c.add("ImageScale", 556, image=image["IMAGE"], **size)
    c.left, c.right = follow.x, follow.right
    vae = vae.via((follow.x - 25, 730))
    start = c.add("VAEEncode", 556, pixels=sized["IMAGE"], vae=vae)
    c.group("Picture to start from", image, sized, start)

    *conditions, latent = raised(c, 34, *texts, start["LATENT"])
    settings = {"seed": 1, "steps": 20, "cfg": 7.0, "denoise": 0.8} | SAMPLER
    parts = stock_sampler(c, follow, conditions, latent, vae, CLOSE, **settings)
    c.group("Result", *parts, saved(c, parts[-1], 320))


def tiles(c):
    """Another pack's sampler of tiles and two nodes; the picture stands above the model."""
    c.column(280)
    image = c.add("LoadImage", 0, None, LEAST_PICTURE, image="example.png")
    c.top = 408
    model = c.add("CheckpointLoaderSimple", 0, ckpt_name=SD15)
    c.group("Model", model)
    low_pass, follow, *texts = two_nodes(c, model, 16)

    c.top, c.left, c.right = 0, low_pass.x, low_pass.right
    sized = c.add("ImageScaleBy", 0, image=image["IMAGE"], **TWICE)
    c.group("Picture", image, sized)

    c.right = follow.right
    guided, positive, negative = raised(c, 34, follow["MODEL"], *texts)
    down, up, floor = model.right + 25, c.right + 80, 905
    vae = model["VAE"].via((down, model.y + 54), (down, floor), (up, floor), (up, 94))
    c.column(300, 120)
    sampled = c.add(
        "UltimateSDUpscaleNoUpscale", 0, upscaled_image=sized["IMAGE"], model=guided,
        positive=positive, negative=negative, vae=vae, seed=1, cfg=7.0, denoise=0.5, **SAMPLER,
    )  # fmt: skip
    c.group("Result", sampled, saved(c, sampled))


def two_nodes(c, model, factor):
    """LowPassFilter and ApplyILVR behind a model of one file; below them, its two prompts, of which
    it gives the wires."""
    c.column(210, CLOSE)
    left = c.left
    low_pass = c.add("LowPassFilter", 50, factor=factor)
    c.column(230)
    follow = c.add("ApplyILVR", 0, model=model["MODEL"], low_pass=low_pass["low_pass"])
    c.group("Colours and layout stay", low_pass, follow)

    c.left = left  # the prompts are as wide as both
    x = model.right + 50
    clip = model["CLIP"].via(*c.points((x, 34), (x, 310)))
    first = c.add("CLIPTextEncode", 296, "Prompt", 64, clip=clip, text=PROMPT)
    clip = clip.via(*c.points((x, 410)))
    second = c.add("CLIPTextEncode", 396, "Negative prompt", 64, clip=clip, text=NEGATIVE)
    c.group("Prompts", first, second)
    return low_pass, follow, first["CONDITIONING"], second["CONDITIONING"]


def checkpoint(c, file):
    """A model of one file, and what its prompts give, at the top; the next column is that behind
    the model."""
    c.column(300, GROUP_GAP)
    model = c.add("CheckpointLoaderSimple", 0, ckpt_name=file)
    c.group("Model", model)
    clip = model["CLIP"].via((model.right + 60, 104))
    c.column(445, GROUP_GAP)
    first = c.add("CLIPTextEncode", 90, "Prompt", 140, clip=clip, text=PROMPT)
    clip = clip.via((model.right + 60, 240), (first.right + 25, 240))
    c.column(445)
    second = c.add("CLIPTextEncode", 90, "Negative prompt", 140, clip=clip, text=NEGATIVE)
    c.group("Prompts", first, second)
    c.right = model.right
    texts = [
        text["CONDITIONING"].via((text.right + 25, y)) for text, y in ((first, 34), (second, 54))
    ]
    return model, texts


def finished(c, model, texts, follow, latent, vae, cfg):
    """The result, beside the model at the top."""
    c.top = 0
    parts = sampled(c, model, follow, latent, 1, vae, texts, cfg)
    c.group("Result", *parts, saved(c, parts[-1]))


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
    c.group("Result", *parts, filmed(c, parts[-1], 16.0))


def filmed(c, decoded, fps):
    c.column(400)
    file = {"filename_prefix": "ilvr", "fps": fps, "lossless": False, "quality": 80}
    return c.add("SaveAnimatedWEBP", 0, None, 480, images=decoded["IMAGE"], **file)


def wan_next_chunk(c):
    model = loaded(c, "wan2.1_i2v_480p_14B_fp8_e4m3fn.safetensors", 8.0)
    video = own_video(c)
    vae = c.add("VAELoader", 820, vae_name="wan_2.1_vae.safetensors")
    files = {"clip_name": "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "type": "wan"}
    follow, texts, last, vae = anchored(c, model, video, vae["VAE"], files)
    size = {"width": 832, "height": 480, "length": 81}
    start = begun(c, "WanImageToVideo", texts, vae, last, 294, "start_image", **size)
    continued(c, follow, start, vae, 16.0, cfg=6.0)


def ltx_next_chunk(c):
    c.column(330, GROUP_GAP)
    model = c.add("CheckpointLoaderSimple", 0, ckpt_name="ltx-video-2b-v0.9.5.safetensors")
    c.group("Model", model)
    files = {"clip_name": "t5xxl_fp16.safetensors", "type": "ltxv"}
    follow, texts, last, vae = anchored(c, model, own_video(c), model["VAE"], files)
    size = {"width": 768, "height": 512, "length": 97}
    start = begun(c, "LTXVImgToVideo", texts, vae, last, 274, "image", **size)
    continued(c, follow, start, vae, 25.0, cfg=3.0)


def own_video(c):
    c.column(270, GROUP_GAP)
    return c.add("LoadVideo", 430, file="first-chunk.mp4")


def anchored(c, model, video, vae, files):
    """ApplyILVR, which keeps the colours that all frames of a video share, and the wires of two
    prompts, of the video's last frame and of the VAE."""
    c.column(230)
    frames = c.add("GetVideoComponents", 430, None, 114, video=video["VIDEO"])
    c.column(270)
    noise = c.add("NoisedReference", 430, image=frames["images"])
    noise.connect(vae=vae_below(c, vae, noise, FLOOR_BELOW))
    last = c.add("ImageFromBatch", 690, "Its last frame", image=frames["images"])
    last.values["batch_index"] = 4095  # no video has as many, and then it is the last one
    beside = [vae.node] if vae.node.x == video.x else []
    c.group("The first chunk", video, *beside, frames, noise, last)

    c.column(250, GROUP_GAP)
    low_pass = c.add("LowPassFilter", 130, factor=64, frames=16384)
    below = low_pass.bottom + 40, low_pass.right + 25
    reference = noise["reference"].via((noise.right + 30, below[0]), (below[1], below[0]))
    reference = reference.via((below[1], 120))
    c.column(320)
    guides = {"low_pass": low_pass["low_pass"], "reference": reference}
    follow = c.add("ApplyILVR", 0, model=model["MODEL"], **guides)
    texts = split_prompts(c, (low_pass, None, follow), "CLIPLoader", files, VIDEO_PROMPT, NEGATIVE)
    c.group("Its colours, and the prompts", *c.nodes[-5:])
    return follow, texts, last["IMAGE"], noise.values["vae"]


def begun(c, kind, texts, vae, frame, y, name, **size):
    """What a chunk begins with: its prompts and its latent, made for a first frame, which the node
    takes at this height by this name."""
    positive, negative = raised(c, 214, *(text["CONDITIONING"] for text in texts))
    left, right = c.right + 60, c.right + 85
    frame = frame.via((left, frame.node.y + 14), (left, y))
    vae = vae.via((right, FLOOR_BELOW), (right, 254))
    c.column(270, GROUP_GAP)
    start = c.add(kind, 200, positive=positive, negative=negative, vae=vae, **size)
    start.connect(**{name: frame})
    c.group("Beginning with the last frame", start)
    return start


def continued(c, follow, start, vae, fps, **settings):
    conditions = [start["positive"], start["negative"]]
    parts = stock_sampler(c, follow, conditions, start["latent"], vae, **FLOW, **settings)
    c.group("Result", *parts, filmed(c, parts[-1], fps))


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
    noise.connect(vae=vae_below(c, vae["VAE"], noise, FLOOR_BELOW))
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
LEVELS = {"sigma_max": 14.614642, "sigma_min": 0.0291675}  # of Stable Diffusion
BELOW_PROMPTS = 200
CLOSE = 80  # between groups, in a graph that opens readable
LEAST_PICTURE = 314  # the height below which the canvas makes a LoadImage larger
TWICE = {"upscale_method": "lanczos", "scale_by": 2.0}
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
    "relight": Workflow(
        relight,
        "Another light",
        "Every edge stays where it is, and the model chooses light and colours anew.\n"
        "A smaller coarsest frees smaller areas. Press Run: all of it comes with the pack.",
    ),
    "recolour": Workflow(
        recolour,
        "Other colours",
        "The luminance of every pixel stays as it is, and the model colours it anew.\n"
        "A factor of 2 or 4 frees the finest detail too. Luminance is of pixel models alone.",
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
    "wan-next-chunk": Workflow(
        wan_next_chunk,
        "The next chunk, in the first's colours (Wan 2.1)",
        "diffusion_models: wan2.1_i2v_480p_14B_fp8_e4m3fn; vae: wan_2.1_vae; text_encoders:\n"
        "umt5_xxl_fp8_e4m3fn_scaled. It begins with the first chunk's last frame; what all frames\n"
        "share of its colours stays, motion is free. Not tried with the published weights.",
        bundled=False,
    ),
    "ltx-next-chunk": Workflow(
        ltx_next_chunk,
        "The next chunk, in the first's colours (LTX-Video)",
        "checkpoints: ltx-video-2b-v0.9.5; text_encoders: t5xxl_fp16, both .safetensors.\n"
        "It begins with the first chunk's last frame; what all frames share of its colours stays,\n"
        "motion is free. Not tried with the published weights.",
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
        "The usual graph and two nodes. With no reference connected, the picture is followed:\n"
        "its colours and layout stay, even at denoise 1. A smaller factor keeps more of it.",
        bundled=False,
    ),
    "upscale-in-tiles": Workflow(
        tiles,
        "Upscale in tiles (SD 1.5)",
        "Needs the pack github.com/ssitu/ComfyUI_UltimateSDUpscale, which the Manager has, and\n"
        "v1-5-pruned-emaonly-fp16.safetensors in models/checkpoints. Each tile keeps its colours;\n"
        "MatchLowFrequencies behind it makes them exact over the whole picture.",
        bundled=False,
        pack=UPSCALER,
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


def may_be_drawn(name: str) -> bool:
    """Whether the pack that it needs is here; says why not."""
    needed = WORKFLOWS[name].pack
    reason = why_no_pack(needed) if needed else None
    if reason:
        print(f"{name} stays as it is: {reason}")
    return reason is None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--pictures", action="store_true")
    options = parser.parse_args()
    names = [name for name in options.names or WORKFLOWS if may_be_drawn(name)]
    others = {pack(WORKFLOWS[name].pack) for name in names if WORKFLOWS[name].pack}
    with (
        tempfile.TemporaryDirectory() as files,
        serving(hosts()[0], Path(files), others=others) as server,
    ):
        info = json.loads(server.get("/object_info"))
        for name in names:
            workflow = drawn(name, info)
            (FOLDER / f"{name}.json").write_text(json.dumps(workflow, indent=1) + "\n")
            if options.pictures:
                picture = pictured(server, name, workflow, info)
                picture.save(FOLDER / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main()
