"""Every workflow opens as it is on each host, lies as a person would lay it out, and runs."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ilvr import BandPassFilter, LowPassFilter
from scripts.workflows import WORKFLOWS, drawn
from tests.e2e import models, workflows
from tests.e2e.graphs import node
from tooling.canvas import FOLDER, NOTES, box, load, nodes, paths, prompt
from tooling.hosts import ROOT, pack, why_no_pack
from tooling.server import PACK, Refused, picture, serving

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
BUNDLED = [
    "factors", "first-steps", "inpainting", "low-pass-preview", "paint-to-image", "ranges",
    "recolour", "relight", "sampler-or-model", "scribble-editing", "super-resolution",
    "translation", "two-references",
]  # fmt: skip
FAMILIES = {
    "flux-keep-layout": "flux", "img2img-keep-layout": "sd15", "sd15-keep-layout": "sd15",
    "sdxl-keep-layout": "sdxl", "upscale-in-tiles": "sd15", "upscale-no-colour-shift": "sdxl",
    "wan-keep-layout": "wan", "wan-next-chunk": "wan", "ltx-next-chunk": "ltx",
}  # fmt: skip
LOADERS = {
    "CheckpointLoaderSimple": "TinyCheckpoint", "UNETLoader": "TinyModel", "VAELoader": "TinyVAE",
    "CLIPLoader": "TinyClip", "DualCLIPLoader": "TinyClip",
}  # fmt: skip
FILES = {
    "checkpoints": [
        "v1-5-pruned-emaonly-fp16.safetensors", "sd_xl_base_1.0.safetensors",
        "ltx-video-2b-v0.9.5.safetensors",
    ],
    "diffusion_models": [
        "flux1-dev.safetensors", "wan2.1_t2v_1.3B_fp16.safetensors",
        "wan2.1_i2v_480p_14B_fp8_e4m3fn.safetensors",
    ],
    "text_encoders": [
        "clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors", "t5xxl_fp16.safetensors",
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    ],
    "vae": ["ae.safetensors", "wan_2.1_vae.safetensors"],
    "adm": ["ffhq_10m.pt"],
}  # fmt: skip
BLUEPRINT = ROOT / "subgraphs" / "KSampler (ILVR).json"
LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
OPEN_READABLE = "img2img-keep-layout", "upscale-in-tiles"
SCREEN = 1850, 1150  # of the canvas, at a zoom of 0.6 or more in a window of 1600 x 1000
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def server(host, tmp_path_factory):
    """A server with those files' names, a picture of one's own, tiny models, and the packs of other
    people that are needed and here."""
    files = tmp_path_factory.mktemp(f"workflows-{host.name}")
    for folder, names in FILES.items():
        (files / "models" / folder).mkdir(parents=True)
        for name in names:
            (files / "models" / folder / name).touch()
    (files / "input").mkdir()
    needed = {pack(workflow.pack) for workflow in WORKFLOWS.values() if workflow.pack}
    others = [Path(__file__).with_name("tiny_nodes.py"), *(needed - {None})]
    ramp = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3)
    Image.fromarray(ramp.astype(np.uint8)).save(files / "input" / "example.png")
    film = [Image.fromarray(np.full((96, 128, 3), 20 * i, np.uint8)) for i in range(9)]
    film[0].save(files / "input" / "first-chunk.mp4", "GIF", save_all=True, append_images=film[1:])
    with serving(host, files, others=others) as server:
        models.write_small_model(files / "models")
        yield server


@pytest.fixture(scope="module")
def info(server):
    return json.loads(server.get("/object_info"))


@pytest.fixture
def offered(name, info):
    """The node types, for a workflow whose pack is there."""
    needed = WORKFLOWS[name].pack
    if needed and (reason := why_no_pack(needed)):
        pytest.skip(f"{name}: {reason}")
    return info


def test_every_workflow_is_known():
    assert set(NAMES) == {*BUNDLED, *FAMILIES, "portrait-to-photo"}


@each
def test_a_host_takes_every_node_value_and_link(name, offered):
    assert workflows.wrong(load(name), offered) == []


@each
def test_it_is_what_its_script_draws(name, offered):
    """So that neither is edited alone; `python -m scripts.workflows NAME` draws it anew."""
    drawing = json.loads(json.dumps(drawn(name, offered)))
    assert workflows.compared(load(name)) == workflows.compared(drawing)


@each
def test_it_has_a_thumbnail(name):
    file = FOLDER / f"{name}.jpg"
    with Image.open(file) as image:
        assert image.format == "JPEG" and image.size == (384, 384)
    assert file.stat().st_size < 40_000


@each
def test_it_is_laid_out_from_left_to_right(name):
    workflow = load(name)
    assert workflows.overlaps(workflow) == [] and workflows.hidden(workflow) == []
    follow = [n for n in nodes(workflow) if n["type"] in ("ApplyILVR", "ILVRSampler")]
    # its low_pass stands before its optional reference; a chunk's VAE comes to two nodes from below
    allowed = 2 if name.endswith("next-chunk") else len(follow)
    assert len(workflows.crossings(workflow)) <= allowed
    for path in paths(workflow).values():
        assert all(a[0] <= b[0] for a, b in itertools.pairwise(path)), path


@pytest.mark.parametrize("name", OPEN_READABLE)
def test_it_opens_readable(name):
    width, height = workflows.extent(load(name))
    assert width <= SCREEN[0] and height <= SCREEN[1]


@each
def test_every_node_is_in_one_group_with_a_title(name):
    workflow = load(name)
    for saved in nodes(workflow):
        around = [g for g in workflow["groups"] if workflows.inside(saved, g)]
        assert len(around) == 1 and around[0]["title"].strip(), saved["type"]
    bounds = workflows.frames(workflow)
    assert not any(workflows.meet(*pair) for pair in itertools.combinations(bounds, 2))


@each
def test_its_note_has_a_title_and_at_most_three_lines(name):
    (note,) = (saved for saved in load(name)["nodes"] if saved["type"] in NOTES)
    (text,) = note["widgets_values"]
    lines = text.split("\n")
    assert note["title"] and len(lines) <= 3 and max(map(len, lines)) <= 90
    assert box(note)[3] <= min(box(saved)[1] for saved in nodes(load(name)))


@each
def test_the_template_browser_offers_it(name, server):
    assert name in json.loads(server.get("/api/workflow_templates"))[PACK]
    assert json.loads(server.get(f"/api/workflow_templates/{PACK}/{name}.json")) == load(name)
    thumbnail = server.get(f"/api/workflow_templates/{PACK}/{name}.jpg")
    assert thumbnail == (FOLDER / f"{name}.jpg").read_bytes()


def quick(graph, steps=5, **inputs):
    """The graph with fewer steps and two pictures at a time, and other inputs by their names."""
    inputs = {"steps": steps, "batch_size": 2, **inputs}

    def changed(n):
        named = {name: inputs.get(name, value) for name, value in n["inputs"].items()}
        return node(n["class_type"], **named)

    return {key: changed(n) for key, n in graph.items()}


def run(server, graph):
    """What a graph's nodes show, (B, 3, H, W) each, and its references likewise."""
    shown = {key: n for key, n in graph.items() if n["class_type"] in ("SaveImage", "PreviewImage")}
    sources = [n["inputs"]["image"] for n in graph.values() if n["class_type"] == "NoisedReference"]
    references = {f"reference {i}": node("PreviewImage", images=s) for i, s in enumerate(sources)}
    done = server.run(graph | references)
    return [[done.pixels(key) for key in keys] for keys in (shown, references)]


def painted(server, info, name, **inputs):
    shown, references = run(server, quick(prompt(load(name), info), **inputs))
    return shown, references


def off(images, reference, factor, kernel="cubic", rows=slice(None)):
    """How far the low frequencies are from the reference's, of 255."""
    difference = LowPassFilter(factor, kernel)(images - reference)
    return difference[..., rows, :].abs().mean()


@pytest.mark.parametrize(
    "name, factor, kernel",
    [
        ("first-steps", 8, "cubic"),
        ("translation", 8, "cubic"),
        ("paint-to-image", 16, "cubic"),
        ("super-resolution", 4, "box"),
    ],
)
def test_pictures_follow_their_reference(server, info, name, factor, kernel):
    (images,), (reference,) = painted(server, info, name)
    assert images.shape == (2, 3, 64, 64)
    assert off(images, reference, factor, kernel) < 1
    assert (images - reference).abs().mean() > 5


def test_first_steps_run_as_they_are(server, info):
    (images,), (reference,) = run(server, prompt(load("first-steps"), info))
    assert images.shape == (4, 3, 64, 64)
    assert off(images, reference, 8) < 1


@pytest.mark.parametrize(
    "name, kept",
    [
        ("relight", BandPassFilter(1, 32)),
        ("recolour", LowPassFilter(1, channels="luminance")),
    ],
)
def test_what_is_kept_stays_and_the_light_or_the_colours_change(server, info, name, kept):
    (images,), (reference,) = painted(server, info, name)
    change = images - reference
    assert kept(change).abs().mean() < 2 < 10 < change.abs().mean()


def test_scribbles_stay_where_they_are(server, info):
    (images,), (reference,) = painted(server, info, "scribble-editing", steps=20)
    assert 1 < off(images, reference, 2) < 20


def test_inpainting_changes_the_hole_only(server, info):
    (images,), (reference,) = painted(server, info, "inpainting")
    changed = (images - reference).abs().mean(1)
    hole = (reference - 128).abs().amax(1) < 2
    assert changed[:, ~hole[0]].mean() < 1 and changed[:, hole[0]].mean() > 20


def test_two_references_share_the_picture(server, info):
    (images,), (sky, ground) = painted(server, info, "two-references")
    for rows, one, other in ((slice(0, 16), sky, ground), (slice(48, 64), ground, sky)):
        assert off(images, one, 4, rows=rows) < off(images, other, 4, rows=rows) / 4


@pytest.mark.parametrize("name, columns", [("factors", 6), ("ranges", 9)])
def test_a_sheet_has_a_column_for_each(server, info, name, columns):
    (sheet,), _ = painted(server, info, name, steps=2)
    assert sheet.shape[3] // 132 == columns and sheet.shape[2] > 2 * 132


def test_both_ways_paint_the_same(server, info):
    (one, other), _ = painted(server, info, "sampler-or-model", steps=20)
    assert torch.equal(one, other) and one.std() > 20


def test_a_filter_shows_both_parts(server, info):
    graph = prompt(load("low-pass-preview"), info)
    done = server.run(graph | {"source": node("PreviewImage", images=["1", 0])})
    kinds = [key for key, n in graph.items() if n["class_type"] == "PreviewImage"]
    low, high = (done.pixels(key) for key in kinds)
    assert (low + high - 127.5 - done.pixels("source")).abs().mean() < 1.5


@pytest.mark.parametrize("name", FAMILIES)
def test_it_runs_on_a_small_model_of_its_family(server, offered, name):
    video = {"length": 9} if FAMILIES[name] in ("wan", "ltx") else {}
    tiles = {"tile_width": 64, "tile_height": 64}
    graph = quick(prompt(load(name), offered), 2, width=128, height=96, **video, **tiles)
    done = server.run({key: tiny(n, FAMILIES[name]) for key, n in graph.items()})
    assert done.error is None, done.error["exception_message"]
    (saved,) = (output for output in done.outputs().values() if "images" in output)
    shown = picture(server.get("/view", **saved["images"][0]))
    assert shown.shape[2:] == (96, 128) and shown.std() > 5


def tiny(n, family):
    """A node as it is, or what tiny_nodes.py has in its place."""
    if n["class_type"] in LOADERS:
        return node(LOADERS[n["class_type"]], family=family)
    return node("TinyPrompt", **n["inputs"]) if n["class_type"] == "CLIPTextEncode" else n


def test_a_portrait_model_runs(server, info):
    graph = prompt(load("portrait-to-photo"), info)
    small = {"width": 16, "height": 16, "checkpoint": models.SMALL, "factor": 8}
    (images,), (reference,) = run(server, quick(graph, 3, **small))
    assert images.shape == (2, 3, 16, 16)
    assert off(images, reference, 8) < off(images, 255 - reference, 8) / 2


def blueprint(info):
    """The nodes inside the blueprint, around the bundled model; and the one that samples."""
    (definition,) = json.loads(BLUEPRINT.read_text())["definitions"]["subgraphs"]
    links = [[link[name] for name in LINK] for link in definition["links"]]
    graph = prompt({"nodes": definition["nodes"], "links": links}, info)
    outside = {
        "model": ["m", 0], "positive": ["m", 1], "negative": ["m", 1], "vae": ["m", 2],
        "reference": ["r", 0],
    }  # fmt: skip
    for n in graph.values():
        for name, value in n["inputs"].items():
            if isinstance(value, list) and value[0] == "-10":
                n["inputs"][name] = outside[definition["inputs"][value[1]]["name"]]
    (last,) = (str(link[1]) for link in links if link[3] == -20)
    model = node("LoadUnconditionalModel", checkpoint="landscapes-64.safetensors")
    return graph | {"m": model, "r": node("ExampleReference", name="render-lake")}, last


def test_the_blueprint_samples_what_follows_its_reference(server, info):
    graph, last = blueprint(info)
    graph |= {
        "d": node("VAEDecode", samples=[last, 0], vae=["m", 2]),
        "s": node("SaveImage", images=["d", 0], filename_prefix="ilvr"),
    }
    (images,), (reference,) = run(server, quick(graph, cfg=1.0, factor=8))
    assert images.shape == (2, 3, 64, 64) and off(images, reference, 8) < 1


def test_the_blueprint_is_offered_where_there_are_blueprints(server, host):
    if not (host / "app" / "subgraph_manager.py").exists():  # as in 0.3.64
        with pytest.raises(Refused, match="404"):
            server.get("/api/global_subgraphs")
        return
    offered = json.loads(server.get("/api/global_subgraphs"))
    (key,) = (key for key, b in offered.items() if b["info"]["node_pack"].endswith(PACK))
    assert offered[key]["name"] == BLUEPRINT.stem
    assert json.loads(server.get(f"/api/global_subgraphs/{key}"))["data"] == BLUEPRINT.read_text()
