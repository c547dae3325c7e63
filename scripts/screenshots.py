"""The READMEs' first pictures: docs/before-after.png, and by a browser docs/start-here.jpg and
docs/two-nodes.jpg.

python -m scripts.screenshots
"""

import io
import json
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import ilvr
from ilvr.image import fit, open_image
from scripts.canvas import Canvas
from scripts.workflow_parts import (
    SAMPLER,
    SIZE,
    at_256,
    followed,
    loader,
    low_pass,
    prompts,
    put,
    sampled,
)
from scripts.workflows import NEGATIVE, PROMPT, SD15
from tooling.canvas import load
from tooling.hosts import ROOT, hosts
from tooling.server import ANSWER, Server, serving

REFERENCES = ROOT / "ilvr/assets/references"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WINDOW = {"width": 1900, "height": 1200}
READY = """() => {
    const shown = window.app?.extensionManager;
    return shown?.spinner === false && shown.workflow?.activeWorkflow && app.graph;
}"""
SHOW = """graph => app.loadGraphData(graph).then(() => {
    const edges = app.graph._groups.map(({ pos: [x, y], size: [w, h] }) => [x, y, x + w, y + h]);
    const [left, top] = [0, 1].map(i => Math.min(...edges.map(edge => edge[i])));
    const [right, bottom] = [2, 3].map(i => Math.max(...edges.map(edge => edge[i])));
    for (const node of app.graph._nodes)
        if (["LowPassFilter", "ApplyILVR"].includes(node.type)) node.color = "#2e7d5b";
    const scale = 0.8;
    Object.assign(app.canvas.ds, { scale, offset: [120 - left, 180 - top] });
    app.canvas.draw(true, true);
    const [width, height] = [right - left + 50, bottom - top + 70].map(side => side * scale);
    return { x: 95 * scale, y: 130 * scale, width, height };
})"""


def before_after() -> Image.Image:
    """Clip art, and three new pictures by the bundled model."""
    art, model = REFERENCES / "clip-art.png", ilvr.load()
    reference = ilvr.NoisedReference(model.encode(ilvr.load_image(art, SIZE)))
    refinement = ilvr.Refinement(reference, ilvr.LowPassFilter(at_256(32)))
    made = ilvr.to_images(ilvr.sample(model, [0, 1, 2], refinement))
    row, heads = [fit(open_image(art), 256), *made], ["reference", "three new pictures"]
    return ilvr.contact_sheet([row], heads, cell=240)


def two_nodes(c: Canvas):
    """ComfyUI's image to image, and the two nodes."""
    model = loader(c, "CheckpointLoaderSimple", 0, SD15)
    image = put(c, 0, "LoadImage", 240, None, 350, image="example.png")
    c.group("Your graph", model, image)
    kept = low_pass(c, 32)
    follow = followed(c, model["MODEL"], kept)
    positive, negative = prompts(c, model["CLIP"], 300, PROMPT, NEGATIVE)
    start = put(c, 1, "VAEEncode", 530, pixels=image["IMAGE"], vae=model["VAE"])
    c.group("Latent", start)
    texts = [text["CONDITIONING"] for text in (positive, negative)]
    settings = {"seed": 1, "steps": 20, "cfg": 7.0, "denoise": 0.8} | SAMPLER
    sampled(c, follow["MODEL"], *texts, start["LATENT"], model["VAE"], **settings)


def main():
    before_after().save(ROOT / "docs/before-after.png")
    host = hosts()[-1]
    with tempfile.TemporaryDirectory() as folder, serving(host, files := Path(folder)) as server:
        (files / "models/checkpoints").mkdir(parents=True)
        (files / "models/checkpoints" / SD15["name"]).touch()
        fit(open_image(REFERENCES / "render-lake.png"), 512).save(files / "input/example.png")
        drawing = Canvas(json.loads(server.get("/object_info")), "two nodes")
        two_nodes(drawing)
        with sync_playwright() as playwright:
            path = next(filter(None, map(shutil.which, BROWSERS)))
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = browser.new_page(viewport=WINDOW)
            page.set_default_timeout(1000 * ANSWER)
            opened(page, server)
            taken(page, server, drawing.json(), "two-nodes")
            taken(
                page,
                server,
                load("ILVR 1 Start here - keep colours and layout"),
                "start-here",
                run=True,
            )


def opened(page, server: Server):
    settings = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False}
    server.post("/settings", **settings | {"Comfy.Execution.PreviewMethod": "none"})
    page.goto(server.url)
    page.wait_for_function(READY)
    page.wait_for_timeout(2000)


def taken(page, server: Server, graph: dict, name: str, run=False):
    """A picture of the groups of a graph, after a run of it."""
    frame = page.evaluate(SHOW, graph)
    if run:
        page.get_by_role("button", name="Run", exact=True).first.click()
        while not json.loads(server.get("/history")):
            page.wait_for_timeout(500)
    page.wait_for_timeout(4000)
    picture = Image.open(io.BytesIO(page.screenshot(clip=frame))).convert("RGB")
    picture.save(ROOT / "docs" / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main()
