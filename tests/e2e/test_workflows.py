"""Every workflow opens as it is on each host, lies as a person would lay it out, and runs."""

import itertools
import json
import re
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image

from ilvr import BandPassFilter, LowPassFilter
from scripts.blueprint import BLUEPRINTS as BLUEPRINTS_DRAWN
from scripts.blueprint import drawn as drawn_blueprint
from scripts.workflow_parts import SIZE, at_256
from scripts.workflows import WORKFLOWS, drawn
from tests.e2e import models, workflows
from tests.e2e.graphs import node
from tooling.canvas import FOLDER, NOTES, extent, frames, load, nodes, paths, prompt, zoom
from tooling.hosts import ROOT, pack, why_no_pack
from tooling.server import PACK, Refused, picture, serving

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
FAMILIES = {name: w.family for name, w in WORKFLOWS.items() if w.family}
BUNDLED = [name for name in NAMES if name not in FAMILIES]
STAND_INS = {"z-image": "sd3"}  # of flow models with 16 channels, as both are
SAVED = ROOT / "tests" / "data" / "workflows"  # by users of earlier versions
GRAPHS = ROOT / "docs" / "graphs"
SAVED_FAMILIES = {
    "upscale-no-colour-shift": "sdxl", "wan-keep-layout": "wan", "wan-next-chunk": "wan",
    "ltx-next-chunk": "ltx",
}  # fmt: skip
LOADERS = {
    "CheckpointLoaderSimple": "TinyCheckpoint", "UNETLoader": "TinyModel", "VAELoader": "TinyVAE",
    "CLIPLoader": "TinyClip", "DualCLIPLoader": "TinyClip",
}  # fmt: skip
FILES = {
    "checkpoints": [
        "v1-5-pruned-emaonly-fp16.safetensors", "sd_xl_base_1.0.safetensors",
        "flux1-dev-fp8.safetensors", "ltx-video-2b-v0.9.5.safetensors",
    ],
    "diffusion_models": [
        "wan2.1_t2v_1.3B_fp16.safetensors", "wan2.1_i2v_480p_14B_fp8_e4m3fn.safetensors",
        "z_image_turbo_bf16.safetensors",
    ],
    "text_encoders": [
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "qwen_3_4b.safetensors", "t5xxl_fp16.safetensors",
    ],
    "vae": ["ae.safetensors", "wan_2.1_vae.safetensors"],
    "adm": ["ffhq_10m.pt"],
}  # fmt: skip
BLUEPRINTS = ROOT / "subgraphs"
LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
LARGEST = 1850, 1150  # of the canvas
READABLE = 0.6  # the zoom below which the canvas draws no text
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


def saved(name):
    """One that a user has saved, or found in docs/."""
    folder = SAVED if (SAVED / f"{name}.json").exists() else GRAPHS
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


def test_every_workflow_is_known_and_they_are_few():
    assert set(NAMES) == set(WORKFLOWS) and len(NAMES) <= 12
    assert NAMES[0].startswith("ILVR 1 Start here")
    for name in NAMES[:3]:
        types = [n["type"] for n in nodes(load(name))]
        assert len(types) < 10 and {"ApplyILVR", "KSampler"} <= set(types)


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
def test_nothing_lies_on_anything_and_wires_run_around_the_nodes(name):
    workflow = load(name)
    assert workflows.overlaps(workflow) == [] and workflows.hidden(workflow) == []
    for path in paths(workflow).values():
        assert path[0][0] < path[1][0] and path[-2][0] < path[-1][0], "leaves and arrives level"


@each
def test_it_opens_readable(name):
    workflow = load(name)
    assert all(size <= largest for size, largest in zip(extent(workflow), LARGEST))
    assert zoom(workflow) >= READABLE


@each
def test_every_node_is_in_one_group_with_a_title(name):
    workflow = load(name)
    for saved in nodes(workflow):
        around = [g for g in workflow["groups"] if workflows.inside(saved, g)]
        assert len(around) == 1 and around[0]["title"].strip(), saved["type"]
    bounds = frames(workflow)
    assert not any(workflows.meet(*pair) for pair in itertools.combinations(bounds, 2))


@each
def test_its_notes_are_steps_and_links_in_english_and_chinese(name):
    english, chinese = (n for n in load(name)["nodes"] if n["type"] in NOTES)
    for note in (english, chinese):
        (text,) = note["widgets_values"]
        assert note["type"] == "MarkdownNote" and re.search(r"^1\. .+\n2\. ", text, re.M)
        assert bool(re.search("[\u4e00-\u9fff]", text)) == (note is chinese)
    assert "](https://" in english["widgets_values"][0]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_canvas_can_offer_every_file_that_it_needs(name):
    workflow, offered = load(name), {}
    for loader in nodes(workflow):
        for file in loader["properties"].get("models", []):
            assert file["url"].endswith(f"/{file['name']}")
            assert file["name"] in FILES[file["directory"]]
            offered[file["name"]] = loader
    values = {v: n for n in nodes(workflow) for v in n["widgets_values"]}
    assert offered == {v: n for v, n in values.items() if str(v).endswith(".safetensors")}


@pytest.mark.parametrize("name", [name for name in NAMES if FAMILIES.get(name) != "wan"])
def test_the_reference_stands_beside_the_results(name):
    (sheet,) = (n for n in nodes(load(name)) if n["type"] == "ContactSheet")
    linked = {socket["name"] for socket in sheet["inputs"] if socket["link"]}
    assert {"images", "reference"} <= linked and sheet["size"][0] >= 550


@each
def test_the_template_browser_offers_it(name, server):
    assert name in json.loads(server.get("/api/workflow_templates"))[PACK]
    there = f"/api/workflow_templates/{PACK}/{quote(name)}"
    assert json.loads(server.get(f"{there}.json")) == load(name)
    assert server.get(f"{there}.jpg") == (FOLDER / f"{name}.jpg").read_bytes()


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
    """Of a workflow saved by a user of an earlier version."""
    shown, references = run(server, quick(prompt(saved(name), info), **inputs))
    return shown, references


def of_template(server, info, name, **inputs):
    """The results of a template's sheet, in place of the sheet, and its reference: as it is, and as
    the model's VAE gives it back."""
    graph = quick(prompt(load(name), info), **inputs)
    (key,) = (key for key, n in graph.items() if n["class_type"] == "ContactSheet")
    graph["results"] = node("PreviewImage", images=graph.pop(key)["inputs"]["images"])
    (y,) = (n["inputs"] for n in graph.values() if n["class_type"] == "NoisedReference")
    graph["latent"] = node("VAEEncode", pixels=y["image"], vae=y["vae"])
    graph["decoded"] = node("VAEDecode", samples=["latent", 0], vae=y["vae"])
    graph["back"] = node("PreviewImage", images=["decoded", 0])
    (images, back), (reference,) = run(server, graph)
    return images, reference, back


def off(images, reference, factor, kernel="cubic", rows=slice(None)):
    """How far the low frequencies are from the reference's, of 255."""
    difference = LowPassFilter(factor, kernel)(images - reference)
    return difference[..., rows, :].abs().mean()


def test_the_first_template_runs_as_it_is_and_keeps_its_reference(server, info):
    images, reference, back = of_template(server, info, NAMES[0], steps=20, batch_size=3)
    assert images.shape == (3, 3, SIZE, SIZE)
    # exact in latents, and nearly so in pictures, since a decoder is not linear
    assert off(images, back, at_256(32)) < 2.5 and (images - reference).abs().mean() > 5


@pytest.mark.parametrize("name", BUNDLED)
def test_a_template_shows_its_sheet(server, info, name):
    graph = prompt(load(name), info)
    (key,) = (key for key, n in graph.items() if n["class_type"] == "ContactSheet")
    graph = quick(graph, 2)
    sheet = server.run(graph).pixels(key)
    assert sheet.shape[3] > 2 * graph[key]["inputs"]["cell"] and sheet.std() > 20


@pytest.mark.parametrize(
    "name, kept",
    [
        ("ILVR 5 Relight - keep the detail", BandPassFilter(1, at_256(128))),
        ("ILVR 6 Recolour - keep the light", LowPassFilter(1, channels="luminance")),
    ],
)
def test_what_is_kept_stays_and_the_light_or_the_colours_change(server, info, name, kept):
    images, _, back = of_template(server, info, name)
    change = images - back
    assert 3 * kept(change).abs().mean() < change.abs().mean() > 10


def test_strokes_and_what_surrounds_a_hole_stay(server, info):
    images, _, back = of_template(server, info, "ILVR 3 Draw on a picture", steps=20)
    assert 1 < off(images, back, at_256(8)) < 20
    images, reference, back = of_template(server, info, "ILVR 4 Fill a hole")
    hole = (reference - 128).abs().amax(1)[0] < 2
    changed = (images - back).abs().mean(1)
    assert changed[:, ~hole].mean() < 3.5 and changed[:, hole].mean() > 20


@pytest.mark.parametrize(
    "name, factor, kernel",
    [
        ("first-steps-0.1.0", 8, "cubic"),
        ("translation", 8, "cubic"),
        ("super-resolution", 4, "box"),
    ],
)
def test_pictures_of_saved_workflows_follow_their_reference(server, info, name, factor, kernel):
    (images,), (reference,) = painted(server, info, name)
    assert images.shape == (2, 3, 64, 64)
    assert off(images, reference, factor, kernel) < 1
    assert (images - reference).abs().mean() > 5


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


def test_a_sheet_has_a_column_for_each(server, info):
    (sheet,), _ = painted(server, info, "factors", steps=2)
    assert sheet.shape[3] // 132 == 6 and sheet.shape[2] > 2 * 132


def test_both_ways_paint_the_same(server, info):
    (one, other), _ = painted(server, info, "sampler-or-model", steps=20)
    assert torch.equal(one, other) and one.std() > 20


def test_a_filter_shows_both_parts(server, info):
    graph = prompt(saved("low-pass-preview"), info)
    done = server.run(graph | {"source": node("PreviewImage", images=["1", 0])})
    kinds = [key for key, n in graph.items() if n["class_type"] == "PreviewImage"]
    low, high = (done.pixels(key) for key in kinds)
    assert (low + high - 127.5 - done.pixels("source")).abs().mean() < 1.5


@pytest.mark.parametrize("name", FAMILIES)
def test_it_runs_on_a_small_model_of_its_family(server, offered, name):
    family = FAMILIES[name]
    runs_small(server, prompt(load(name), offered), STAND_INS.get(family, family))


@pytest.mark.parametrize("name", SAVED_FAMILIES)
def test_a_saved_workflow_runs_on_a_small_model_of_its_family(server, info, name):
    runs_small(server, prompt(saved(name), info), SAVED_FAMILIES[name])


def runs_small(server, graph, family):
    video = {"length": 9} if family in ("wan", "ltx") else {}
    tiles = {"tile_width": 64, "tile_height": 64}
    graph = quick(graph, 2, width=128, height=96, **video, **tiles)
    (key,) = (k for k, n in graph.items() if n["class_type"] in ("SaveImage", "SaveAnimatedWEBP"))
    done = server.run({key: tiny(n, family) for key, n in graph.items()})
    assert done.error is None, done.error["exception_message"]
    shown = picture(server.get("/view", **done.outputs()[key]["images"][0]))
    assert shown.shape[2:] == (96, 128) and shown.std() > 5


def tiny(n, family):
    """A node as it is, or what tiny_nodes.py has in its place."""
    if n["class_type"] in LOADERS:
        return node(LOADERS[n["class_type"]], family=family)
    return node("TinyPrompt", **n["inputs"]) if n["class_type"] == "CLIPTextEncode" else n


def test_a_portrait_model_runs(server, info):
    graph = prompt(saved("portrait-to-photo"), info)
    small = {"width": 16, "height": 16, "checkpoint": models.SMALL, "factor": 8}
    (images,), (reference,) = run(server, quick(graph, 3, **small))
    assert images.shape == (2, 3, 16, 16)
    assert off(images, reference, 8) < off(images, 255 - reference, 8) / 2


def blueprint(info, name):
    """The nodes inside a blueprint, around the bundled model; where its outputs come from."""
    there = json.loads((BLUEPRINTS / f"{name}.json").read_text())
    (definition,) = there["definitions"]["subgraphs"]
    links = [[link[name] for name in LINK] for link in definition["links"]]
    graph = prompt({"nodes": definition["nodes"], "links": links}, info)
    outside = {
        "model": ["m", 0], "positive": ["m", 1], "negative": ["m", 1], "vae": ["m", 2],
        "reference": ["r", 0], "image": ["r", 0],
    }  # fmt: skip
    for n in graph.values():
        for key, value in n["inputs"].items():
            if isinstance(value, list) and value[0] == "-10":
                n["inputs"][key] = outside[definition["inputs"][value[1]]["name"]]
    model = node("LoadUnconditionalModel", checkpoint="landscapes-64.safetensors")
    last = {link[4]: [str(link[1]), link[2]] for link in links if link[3] == -20}
    return graph | {"m": model, "r": node("ExampleReference", name="render-lake")}, last


def test_the_blueprints_sample_what_follows_its_reference(server, info):
    graph, outputs = blueprint(info, "KSampler (ILVR)")
    assert_follows(server, graph, outputs[0])
    graph, outputs = blueprint(info, "Keep layout (ILVR)")
    graph["k"] = node(
        "KSampler", model=outputs[0], positive=["m", 1], negative=["m", 1],
        latent_image=outputs[1], seed=1, steps=5, cfg=1.0, sampler_name="euler",
        scheduler="karras", denoise=1.0,
    )  # fmt: skip
    assert_follows(server, graph, ["k", 0])


def assert_follows(server, graph, samples):
    graph |= {
        "d": node("VAEDecode", samples=samples, vae=["m", 2]),
        "s": node("SaveImage", images=["d", 0], filename_prefix="ilvr"),
    }
    (images,), (reference,) = run(server, quick(graph, cfg=1.0, factor=8))
    assert images.shape == (2, 3, 64, 64) and off(images, reference, 8) < 1


def test_the_blueprints_are_what_their_script_draws(info):
    assert sorted(b.name for b in BLUEPRINTS_DRAWN) == sorted(p.stem for p in BLUEPRINTS.iterdir())
    for each in BLUEPRINTS_DRAWN:
        drawing = json.loads(json.dumps(drawn_blueprint(each, info)))
        there = json.loads((BLUEPRINTS / f"{each.name}.json").read_text())
        parts = (graph["definitions"]["subgraphs"][0] for graph in (there, drawing))
        assert workflows.compared(next(parts)) == workflows.compared(next(parts))


def test_the_blueprints_are_offered_where_there_are_blueprints(server, host):
    if not (host / "app" / "subgraph_manager.py").exists():  # as in 0.3.64
        with pytest.raises(Refused, match="404"):
            server.get("/api/global_subgraphs")
        return
    offered = json.loads(server.get("/api/global_subgraphs"))
    ours = {b["name"]: key for key, b in offered.items() if b["info"]["node_pack"].endswith(PACK)}
    assert sorted(ours) == sorted(path.stem for path in BLUEPRINTS.iterdir())
    for name, key in ours.items():
        data = json.loads(server.get(f"/api/global_subgraphs/{key}"))["data"]
        assert data == (BLUEPRINTS / f"{name}.json").read_text()
