"""Pictures of workflows for ComfyUI's template browser."""

import io
import json
import textwrap

from PIL import Image, ImageDraw, ImageFont, ImageOps

from tooling.canvas import box, paths
from tooling.server import Server

WIDTH, GAP = 384, 4
OURS = (
    "NoisedReference", "LowPassFilter", "BandPassFilter", "ConditioningRange", "ApplyILVR",
    "ILVRSampler",
)  # fmt: skip


def thumbnail(server: Server, graph: dict) -> Image.Image:
    """A square one of a graph that can run: its sheet, or its references and first results."""
    if sheets := of_type(graph, "ContactSheet"):
        graph[sheets[0]]["inputs"]["cell"] = 64
        (sheet,) = images(server, server.run(graph), sheets)
        return ImageOps.pad(sheet, (WIDTH, WIDTH), Image.LANCZOS, "white")
    graph = graph | with_references(graph)
    run = server.run(graph)
    outputs = [images(server, run, [key]) for key in ordered(graph)]
    return laid_out([picture for batch in outputs for picture in batch][:4])


def with_references(graph):
    """Nodes that show the pictures that a graph follows or splits, each once."""
    kinds = ("NoisedReference", "ApplyLowPass")
    sources = [graph[key]["inputs"]["image"] for kind in kinds for key in of_type(graph, kind)]
    names = {json.dumps(graph[source[0]]["inputs"]): source for source in sources}
    return {
        f"reference {i}": {"class_type": "PreviewImage", "inputs": {"images": source}}
        for i, source in enumerate(names.values())
    }


def ordered(graph):
    shown = of_type(graph, "SaveImage") + of_type(graph, "PreviewImage")
    return sorted(shown, key=lambda key: not key.startswith("reference"))


def of_type(graph, class_type):
    return [key for key, node in graph.items() if node["class_type"] == class_type]


def images(server, run, keys):
    assert run.error is None, run.error
    files = [file for key in keys for file in run.outputs()[key]["images"]]
    return [Image.open(io.BytesIO(server.get("/view", **file))).convert("RGB") for file in files]


def laid_out(pictures):
    """Up to four in a square, two a row."""
    cell = (WIDTH + GAP) // 2
    sheet = Image.new("RGB", (WIDTH, WIDTH), "white")
    for i, picture in enumerate(pictures):
        enlarged = picture.resize((cell - GAP, cell - GAP), Image.BICUBIC)
        sheet.paste(enlarged, (cell * (i % 2), cell * (i // 2)))
    return sheet


def card(workflow: dict, title: str) -> Image.Image:
    """Of a graph whose model is not here: a small drawing of it above its title."""
    sheet = Image.new("RGB", (WIDTH, WIDTH), "#202124")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(24)
    for i, line in enumerate(textwrap.wrap(title, 30)):
        draw.text((16, 300 + 32 * i), line, "#e8eaed", font)
    small = Drawing(workflow)
    for group in workflow["groups"]:
        x, y, width, height = group["bounding"]
        draw.rectangle(small.box(x, y, x + width, y + height), "#26394a")
    for key, path in paths(workflow).items():
        draw.line([small.point(*point) for point in path], "#9aa0a6")
    for node in workflow["nodes"]:
        ours = node["properties"].get("Node name for S&R") in OURS
        fill = "#2e7d5b" if ours else "#8d6e3c" if node["type"] == "Note" else "#5f6368"
        draw.rectangle(small.box(*box(node)), fill)
    return sheet


class Drawing:
    """Where points of a canvas lie on a card, above its title."""

    def __init__(self, workflow):
        boxes = [box(node) for node in workflow["nodes"]]
        self.left, self.top = min(b[0] for b in boxes), min(b[1] for b in boxes)
        width, height = max(b[2] for b in boxes) - self.left, max(b[3] for b in boxes) - self.top
        self.scale = min((WIDTH - 32) / width, (WIDTH - 140) / height)
        self.down = 40 + (WIDTH - 140 - self.scale * height) / 2

    def point(self, x, y):
        return 16 + (x - self.left) * self.scale, self.down + (y - self.top) * self.scale

    def box(self, left, top, right, bottom):
        return [*self.point(left, top), *self.point(right, bottom)]
