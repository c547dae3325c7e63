"""Draws example_workflows/*.json from the definitions below, with the node types of a ComfyUI.

python -m scripts.workflows [NAME ...]    # draws those named, all if none is
python -m scripts.workflows --pictures    # and their thumbnails beside them
python -m scripts.workflows --table       # draws nothing, and says how large each is
"""

import argparse
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.canvas import Canvas
from scripts.thumbnails import card, thumbnail
from scripts.workflow_parts import (
    BESIDE,
    COLUMNS,
    END,
    LOWER,
    NOTE_WIDTH,
    PICTURE,
    SAMPLER,
    at_256,
    bundled_model,
    compared,
    example,
    file,
    followed,
    loader,
    low_pass,
    noised,
    own_picture,
    prompts,
    put,
    sampled,
    saved,
    until,
    wide,
)  # fmt: skip
from tooling.canvas import FOLDER, extent, load, nodes, prompt, zoom
from tooling.hosts import hosts, pack, why_no_pack
from tooling.server import serving
from tooling.tiles import UPSCALER

PROMPT = "a photograph with fine detail, natural light"
VIDEO_PROMPT = "a film of a quiet scene, natural light, slow movement"
NEGATIVE = "blurry, distorted, low quality"
ORG = "Comfy-Org"
SD15 = file(
    "v1-5-pruned-emaonly-fp16.safetensors", "checkpoints",
    f"{ORG}/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors",
)  # fmt: skip
SDXL = file(
    "sd_xl_base_1.0.safetensors", "checkpoints",
    "stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
)  # fmt: skip
FLUX = file(
    "flux1-dev-fp8.safetensors", "checkpoints",
    f"{ORG}/flux1-dev/resolve/main/flux1-dev-fp8.safetensors",
)  # fmt: skip


def split(repository, folder, name):
    """A file of a model that its makers have split into several."""
    return file(name, folder, f"{ORG}/{repository}/resolve/main/split_files/{folder}/{name}")


@dataclass(frozen=True)
class Workflow:
    draw: Callable
    family: str | None = None  # of a model that does not come with the pack
    pack: str | None = None  # other people's that it needs


def start_here(c):
    alone(c, *bundled(c, "clip-art", low_pass(c, at_256(32)), seed=0, start="reference"))


def bundled(c, name, kept, seed, title="Reference", mask=None, **given):
    """The bundled model and picture, all but the result; (results, reference)."""
    model, picture = bundled_model(c), example(c, name)
    masked = {"mask": mask["MASK"]} if mask else {}
    y = noised(c, picture["IMAGE"], model["VAE"], 2 if mask else 1, batch_size=3, **masked)
    parts = [node for node in c.nodes if node.y > LOWER]
    c.group(title, picture, y, *parts)
    follow = followed(c, model["MODEL"], kept, reference=y["reference"], **given)
    return sampled_alone(c, model, follow, y, seed), picture["IMAGE"]


def sampled_alone(c, model, follow, y, seed):
    settings = {"seed": seed, "steps": 20, "cfg": 1.0} | SAMPLER
    empty = model["CONDITIONING"]
    return sampled(c, follow["MODEL"], empty, empty, y["latent"], model["VAE"], **settings)


def alone(c, images, reference, y=640, **options):
    """The result below all columns."""
    c.group("Result", compared(c, images, reference, y, 1050 - y, (COLUMNS[0][0], END), **options))


def factors_and_ranges(c):
    """As Fig. 4 and 5 of the paper in one."""
    model, picture = bundled_model(c), example(c, "scene-lake", 380)
    y = noised(c, picture["IMAGE"], model["VAE"], y=380)
    c.group("Reference", picture, y)
    factors = ", ".join(f"{at_256(n):g}" for n in (16, 32, 64, 128, 256))
    pairs = put(c, 1, "ILVRSweep", 0, factors=factors, ends="0, 250, 500")
    follow = put(
        c, 2, "ApplyILVR", 0, model=model["MODEL"], low_pass=pairs["low_pass"],
        reference=y["reference"], range=pairs["range"],
    )  # fmt: skip
    c.group("Every pair of a factor and a range", pairs, follow)
    images = sampled_alone(c, model, follow, y, 1)
    labels = {"labels": pairs["label"], "cell": 128}
    alone(c, images, picture["IMAGE"], 700, **labels)


def scribbles(c):
    title, ends = "Reference, and when it is followed", until(c, 200, 0, 480)
    settings = {"seed": 4, "title": title, "range": ends, "start": "reference"}
    alone(c, *bundled(c, "scribble", low_pass(c, at_256(16)), **settings), 700)


def hole(c):
    shape = example(c, "mask-scene", 480)
    mask = put(c, 1, "ImageToMask", 480, image=shape["IMAGE"], channel="red")
    title = "Reference, and a mask of what is known"
    alone(c, *bundled(c, "masked-scene", low_pass(c, 1), seed=13, title=title, mask=mask), 700)


def relight(c):
    kept = put(c, 1, "BandPassFilter", 0, finest=1, coarsest=at_256(128))
    alone(c, *bundled(c, "scene-lake", kept, seed=13))


def recolour(c):
    kept = low_pass(c, 1, channels="luminance")
    alone(c, *bundled(c, "scene-meadow", kept, seed=11))


def sd15(c):
    model = one_file(c, SD15)
    start, picture = scaled_latent(c, model["VAE"], 512)
    texts = [text["CONDITIONING"] for text in prompts(c, model["CLIP"], 300, PROMPT, NEGATIVE)]
    follow = followed(c, model["MODEL"], low_pass(c, 32))
    settings = {"seed": 1, "steps": 20, "cfg": 7.0, "denoise": 0.8} | SAMPLER
    finished(c, follow, texts, start, model["VAE"], picture, **settings)


def sdxl(c):
    """From one's own picture, made larger."""
    model = one_file(c, SDXL)
    image = own_picture(c)
    sized = put(
        c, 0, "ImageScaleBy", PICTURE, image=image["IMAGE"], upscale_method="lanczos", scale_by=2.0
    )  # fmt: skip
    start = put(c, 0, "VAEEncode", PICTURE + 200, pixels=sized["IMAGE"], vae=model["VAE"])
    c.group("Picture to start from", image, sized, start)
    texts = [text["CONDITIONING"] for text in prompts(c, model["CLIP"], 300, PROMPT, NEGATIVE)]
    follow = followed(c, model["MODEL"], low_pass(c, 32))
    settings = {"seed": 1, "steps": 25, "cfg": 6.0, "denoise": 0.4} | SAMPLER
    finished(c, follow, texts, start, model["VAE"], sized, **settings)


def flux(c):
    model = one_file(c, FLUX)
    start, picture = scaled_latent(c, model["VAE"], 1024)
    (text,) = prompts(c, model["CLIP"], 460, PROMPT)
    strength = put(c, 2, "FluxGuidance", 460, conditioning=text["CONDITIONING"], guidance=3.5)
    c.group("Its strength", strength)
    follow = followed(c, model["MODEL"], low_pass(c, 64), range=until(c, 200))
    settings = {"seed": 1, "steps": 20, "cfg": 1.0, "denoise": 1.0} | FLOW
    texts = [strength["CONDITIONING"]] * 2
    finished(c, follow, texts, start, model["VAE"], picture, 680, **settings)


def z_image(c):
    files = {"clip": "qwen_3_4b.safetensors", "vae": "ae.safetensors"}
    model, clip, vae = three_files(
        c, "z_image_turbo", "z_image_turbo_bf16.safetensors", **files, type="lumina2"
    )  # fmt: skip
    start, picture = scaled_latent(c, vae["VAE"], 1024)
    (text,) = prompts(c, clip["CLIP"], 460, PROMPT)
    none = put(c, 2, "ConditioningZeroOut", 460, conditioning=text["CONDITIONING"])
    c.group("No negative prompt", none)
    shifted = put(c, 2, "ModelSamplingAuraFlow", 260, model=model["MODEL"], shift=3.0)
    follow = followed(c, shifted["MODEL"], low_pass(c, 64), range=until(c, 200))
    settings = {"seed": 1, "steps": 8, "cfg": 1.0, "denoise": 1.0, "scheduler": "simple"}
    texts = [node["CONDITIONING"] for node in (text, none)]
    finished(
        c, follow, texts, start, vae["VAE"], picture, 680, **settings, sampler_name="res_multistep"
    )  # fmt: skip


def wan(c):
    """One picture, held for all frames."""
    model, clip, vae = three_files(
        c, "Wan_2.1_ComfyUI_repackaged", "wan2.1_t2v_1.3B_fp16.safetensors",
        clip="umt5_xxl_fp8_e4m3fn_scaled.safetensors", vae="wan_2.1_vae.safetensors", type="wan",
    )  # fmt: skip
    image = own_picture(c)
    size = {"width": 832, "height": 480, "crop": "center", "upscale_method": "lanczos"}
    sized = put(c, 0, "ImageScale", PICTURE, image=image["IMAGE"], **size)
    c.group("Picture", image, sized)
    y = put(c, 1, "NoisedReference", 690, image=sized["IMAGE"], vae=vae["VAE"], length=33)
    c.group("As the reference", y)
    texts = [text["CONDITIONING"] for text in prompts(c, clip["CLIP"], 460, VIDEO_PROMPT, NEGATIVE)]
    shifted = put(c, 2, "ModelSamplingSD3", 260, model=model["MODEL"], shift=8.0)
    given = {"reference": y["reference"], "range": until(c, 200)}
    follow = followed(c, shifted["MODEL"], low_pass(c, 64), **given)
    settings = {"seed": 1, "steps": 20, "cfg": 6.0} | FLOW
    images = sampled(c, follow["MODEL"], *texts, y["latent"], vae["VAE"], **settings)
    options = {"filename_prefix": "ilvr", "fps": 16.0, "lossless": False, "quality": 80}
    video = wide(c, 1000, 1805, "SaveAnimatedWEBP", 690, 350, images=images, **options)
    c.group("Result", video)


def tiles(c):
    """Another pack's sampler of tiles, around the same two nodes."""
    model = one_file(c, SD15)
    image = own_picture(c)
    sized = put(
        c, 0, "ImageScaleBy", PICTURE, image=image["IMAGE"], upscale_method="lanczos", scale_by=2.0
    )  # fmt: skip
    c.group("Picture", image, sized)
    texts = [text["CONDITIONING"] for text in prompts(c, model["CLIP"], 300, PROMPT, NEGATIVE)]
    follow = followed(c, model["MODEL"], low_pass(c, 16))
    sampler = put(
        c, 3, "UltimateSDUpscaleNoUpscale", 0, upscaled_image=sized["IMAGE"],
        model=follow["MODEL"], positive=texts[0], negative=texts[1], vae=model["VAE"], seed=1,
        cfg=7.0, denoise=0.5, **SAMPLER,
    )  # fmt: skip
    c.group("Sampling, tile by tile", sampler)
    results(c, sampler["IMAGE"], sized["IMAGE"], 790, 260)


def one_file(c, known):
    """A model, its text encoder and its VAE in one file."""
    model = loader(c, "CheckpointLoaderSimple", 0, known)
    c.group("Model", model)
    return model


def three_files(c, repository, model, clip, vae, type):
    nodes = [
        loader(c, "UNETLoader", 0, split(repository, "diffusion_models", model)),
        loader(c, "CLIPLoader", 150, split(repository, "text_encoders", clip), type=type),
        loader(c, "VAELoader", 330, split(repository, "vae", vae)),
    ]
    c.group("Model", *nodes)
    return nodes


def scaled_latent(c, vae, width):
    """One's own picture, as large as the model paints, as its latent and as it is."""
    image = own_picture(c)
    size = {"width": width, "height": width, "crop": "center", "upscale_method": "lanczos"}
    sized = put(c, 0, "ImageScale", PICTURE, image=image["IMAGE"], **size)
    start = put(c, 0, "VAEEncode", PICTURE + 200, pixels=sized["IMAGE"], vae=vae)
    c.group("Picture to start from", image, sized, start)
    return start, sized


def finished(c, follow, texts, start, vae, picture, y=530, **settings):
    images = sampled(c, follow["MODEL"], *texts, start["LATENT"], vae, **settings)
    results(c, images, picture["IMAGE"], y, 1000 - y)


def results(c, images, reference, y, tall):
    sheet = compared(c, images, reference, y, tall, (BESIDE, 1230))
    c.group("Result", sheet, saved(c, images, y, tall, 1280))


FLOW = {"sampler_name": "euler", "scheduler": "simple"}
WORKFLOWS = {
    "ILVR 1 Start here - keep colours and layout": Workflow(start_here),
    "ILVR 2 Which factor and which range": Workflow(factors_and_ranges),
    "ILVR 3 Draw on a picture": Workflow(scribbles),
    "ILVR 4 Fill a hole": Workflow(hole),
    "ILVR 5 Relight - keep the detail": Workflow(relight),
    "ILVR 6 Recolour - keep the light": Workflow(recolour),
    "ILVR Flux - new picture with your layout": Workflow(flux, "flux"),
    "ILVR SD1.5 - image to image that keeps the layout": Workflow(sd15, "sd15"),
    "ILVR SDXL - upscale with no colour shift": Workflow(sdxl, "sdxl"),
    "ILVR Tiles - upscale in tiles (SD1.5)": Workflow(tiles, "sd15", UPSCALER),
    "ILVR Wan - video with the layout of a picture": Workflow(wan, "wan"),
    "ILVR Z-Image-Turbo - new picture with your layout": Workflow(z_image, "z-image"),
}


def drawn(name: str, info: dict) -> dict:
    """The workflow as the canvas saves it, with the node types of a host's /object_info."""
    canvas = Canvas(info, name)
    WORKFLOWS[name].draw(canvas)
    files = [file for node in canvas.nodes for file in node.models]
    canvas.note(0, -40, NOTE_WIDTH, 360, "Read me", note(name, "en", files))
    canvas.note(0, 370, NOTE_WIDTH, 250, "\u8bf4\u660e", note(name, "zh", files))
    return canvas.json()


def note(name: str, language: str, files: list[dict]) -> str:
    """What notes.*.md say of a workflow, with links to the files that it needs."""
    text = Path(__file__).with_name(f"notes.{language}.md").read_text("utf-8")
    sections = (section.partition("\n\n") for section in re.split("^# ", text, flags=re.M)[1:])
    (found,) = (words.strip() for title, _, words in sections if title == name)
    links = [f"**{file['directory']}**: [{file['name']}]({file['url']})" for file in files]
    return found.replace("FILES", "\n\n".join(links))


def pictured(server, name, workflow, info):
    if WORKFLOWS[name].family is None:
        return thumbnail(server, prompt(workflow, info))
    return card(workflow, name)


def may_be_drawn(name: str) -> bool:
    """Whether the pack that it needs is here; says why not."""
    needed = WORKFLOWS[name].pack
    reason = why_no_pack(needed) if needed else None
    if reason:
        print(f"{name} stays as it is: {reason}")
    return reason is None


def table(names):
    rows = [(name, load(name)) for name in names]
    lines = [
        f"| {name} | {len(nodes(w))} | {len(w['links'])} | {' x '.join(map(str, extent(w)))} | "
        f"{zoom(w):.2f} |"
        for name, w in rows
    ]
    return "\n".join(
        ["| template | nodes | wires | size | zoom |", "|---|---|---|---|---|", *lines]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        return print(table(options.names or list(WORKFLOWS)))
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
