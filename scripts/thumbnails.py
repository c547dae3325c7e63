"""Pictures of workflows for ComfyUI's template browser."""

import io
import textwrap

from PIL import Image, ImageDraw, ImageFont, ImageOps

from tooling.canvas import NOTES, box, paths
from tooling.server import Server

WIDTH, GAP = 384, 4
OURS = (
    "NoisedReference", "LowPassFilter", "BandPassFilter", "ConditioningRange", "ApplyILVR",
    "ILVRSampler",
)  # fmt: skip


def thumbnail(server: Server, graph: dict) -> Image.Image:
    """A square one of a graph that can run: its table, or half the reference and half the first
    result, each in its own place, as before and after."""
    (sheet,) = of_type(graph, "ContactSheet")
    given = graph[sheet]["inputs"]
    if "labels" in given:
        given["cell"] = 64
        (table,) = images(server, server.run(graph), [sheet])
        return ImageOps.pad(table, (WIDTH, WIDTH), Image.LANCZOS, "white")
    shown = {name: preview(given[name]) for name in ("reference", "images")}
    before, after, *_ = images(server, server.run(graph | shown), list(shown))
    return halves(before, after)


def preview(source):
    return {"class_type": "PreviewImage", "inputs": {"images": source}}


def halves(before, after):
    """The left half of one picture and the right half of the other."""
    left, right = (picture.resize((WIDTH, WIDTH), Image.BICUBIC) for picture in (before, after))
    right.paste(left.crop((0, 0, WIDTH // 2, WIDTH)))
    ImageDraw.Draw(right).rectangle(
        (WIDTH // 2 - GAP // 2, 0, WIDTH // 2 + GAP // 2, WIDTH), "white"
    )
    return right


def of_type(graph, class_type):
    return [key for key, node in graph.items() if node["class_type"] == class_type]


def images(server, run, keys):
    assert run.error is None, run.error
    files = [file for key in keys for file in run.outputs()[key]["images"]]
    return [Image.open(io.BytesIO(server.get("/view", **file))).convert("RGB") for file in files]


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
        fill = "#2e7d5b" if ours else "#8d6e3c" if node["type"] in NOTES else "#5f6368"
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
