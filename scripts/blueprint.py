"""Draws subgraphs/*.json: nodes that belong together, as one node of the canvas.

python -m scripts.blueprint
"""

import json
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.canvas import SPACE, Canvas, Node
from scripts.workflow_parts import SAMPLER
from tooling.hosts import ROOT, hosts
from tooling.server import serving

FOLDER = ROOT / "subgraphs"
INPUT, OUTPUT = -10, -20  # the canvas' ids of a subgraph's two ends
LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


@dataclass(frozen=True)
class Blueprint:
    """inputs: by name, the node and socket inside that take what comes in. outputs: by name, the
    node and output that it comes from. widgets: of the nodes inside, on the one outside."""

    name: str
    about: str
    draw: Callable
    inputs: dict
    outputs: dict
    widgets: list
    size: tuple

    def id(self, part: str) -> str:
        return str(uuid.uuid5(SPACE, f"{self.name} {part}"))


def guided(c: Canvas) -> tuple[Node, Node]:
    """NoisedReference and ApplyILVR, with nothing coming in yet."""
    c.column(0, 270)
    noised = c.add("NoisedReference", 120)
    low_pass = c.add("LowPassFilter", 370, factor=64)
    range = c.add("ConditioningRange", 620)
    c.column(340, 270)
    given = {
        "reference": noised["reference"],
        "low_pass": low_pass["low_pass"],
        "range": range["range"],
    }
    return noised, c.add("ApplyILVR", 0, **given)


def sampled(c: Canvas):
    noised, follow = guided(c)
    c.column(680, 270)
    settings = {"steps": 20, "cfg": 7.0, **SAMPLER}
    c.add(
        "KSampler", 0, model=follow["MODEL"], latent_image=noised["latent"], seed=0, **settings
    )  # fmt: skip


KEPT = [("LowPassFilter", "factor"), ("ConditioningRange", "start"), ("ConditioningRange", "end")]
BLUEPRINTS = [
    Blueprint(
        "KSampler (ILVR)",
        "KSampler whose images keep the colours and the layout of a reference picture.",
        sampled,
        {
            "model": ("ApplyILVR", "model"),
            "positive": ("KSampler", "positive"),
            "negative": ("KSampler", "negative"),
            "reference": ("NoisedReference", "image"),
            "vae": ("NoisedReference", "vae"),
        },
        {"LATENT": ("KSampler", "LATENT")},
        [
            *KEPT, ("KSampler", "seed"), ("KSampler", "steps"), ("KSampler", "cfg"),
            ("KSampler", "sampler_name"), ("KSampler", "scheduler"),
            ("NoisedReference", "batch_size"),
        ],
        (300, 330),
    ),
    Blueprint(
        "Keep layout (ILVR)",
        "A model whose images keep the colours and the layout of a picture, and an empty latent of "
        "its size, for any sampler.",
        guided,
        {
            "model": ("ApplyILVR", "model"),
            "image": ("NoisedReference", "image"),
            "vae": ("NoisedReference", "vae"),
        },
        {"MODEL": ("ApplyILVR", "MODEL"), "LATENT": ("NoisedReference", "latent")},
        [*KEPT, ("NoisedReference", "batch_size")],
        (300, 220),
    ),
]  # fmt: skip


def drawn(blueprint: Blueprint, info: dict) -> dict:
    c = Canvas(info, blueprint.name)
    blueprint.draw(c)
    graph = c.json()
    nodes = {node["type"]: node for node in graph["nodes"]}
    links = [dict(zip(LINK, link)) for link in graph["links"]]
    inputs = [_input(blueprint, slot, nodes, links) for slot in range(len(blueprint.inputs))]
    outputs = [_output(blueprint, slot, nodes, links) for slot in range(len(blueprint.outputs))]
    definition = {
        "id": blueprint.id("definition"), "version": 1, "revision": 0, "config": {},
        "name": blueprint.name,
        "state": {
            "lastNodeId": len(nodes), "lastLinkId": len(links), "lastGroupId": 0,
            "lastRerouteId": 0,
        },
        "inputNode": {"id": INPUT, "bounding": [-220, 0, 120, 140]},
        "outputNode": {"id": OUTPUT, "bounding": [1010, 0, 120, 60]},
        "inputs": inputs, "outputs": outputs, "widgets": [], "nodes": graph["nodes"],
        "groups": [], "links": links, "extra": {}, "category": "ILVR",
        "description": blueprint.about,
    }  # fmt: skip
    return {
        "revision": 0, "last_node_id": len(nodes) + 1, "last_link_id": 0, "links": [],
        "nodes": [_node(blueprint, len(nodes) + 1, nodes, inputs, outputs)],
        "definitions": {"subgraphs": [definition]}, "extra": {}, "version": 0.4,
    }  # fmt: skip


def _input(blueprint, slot, nodes, links):
    """An input of the subgraph, and its link to the node inside."""
    name, (kind, taker) = list(blueprint.inputs.items())[slot]
    node, key = nodes[kind], len(links) + 1
    socket = next(i for i, s in enumerate(node["inputs"]) if s["name"] == taker)
    type_ = node["inputs"][socket]["type"]
    links.append(dict(zip(LINK, (key, INPUT, slot, node["id"], socket, type_))))
    node["inputs"][socket]["link"] = key
    position = [-120, 20 + 20 * slot]
    return {
        "id": blueprint.id(name), "name": name, "type": type_, "linkIds": [key], "pos": position,
    }  # fmt: skip


def _output(blueprint, slot, nodes, links):
    name, (kind, giver) = list(blueprint.outputs.items())[slot]
    node, key = nodes[kind], len(links) + 1
    origin = next(i for i, s in enumerate(node["outputs"]) if s["name"] == giver)
    output = node["outputs"][origin]
    links.append(dict(zip(LINK, (key, node["id"], origin, OUTPUT, slot, output["type"]))))
    output["links"] = [*(output["links"] or []), key]
    common = {"name": name, "type": output["type"], "linkIds": [key]}
    return {"id": blueprint.id(name), **common, "pos": [1030, 20 + 20 * slot]}


def _node(blueprint, key, nodes, inputs, outputs):
    """The one node that the canvas shows, with the widgets that it takes from those inside."""
    sockets = [{"name": i["name"], "type": i["type"], "link": None} for i in inputs]
    results = [{"name": o["name"], "type": o["type"], "links": []} for o in outputs]
    shown = [[str(nodes[kind]["id"]), widget] for kind, widget in blueprint.widgets]
    return {
        "id": key, "type": blueprint.id("definition"), "title": blueprint.name, "pos": [0, 0],
        "size": list(blueprint.size), "flags": {}, "order": 0, "mode": 0, "inputs": sockets,
        "outputs": results, "properties": {"proxyWidgets": shown}, "widgets_values": [],
    }  # fmt: skip


def main():
    with tempfile.TemporaryDirectory() as files, serving(hosts()[0], Path(files)) as server:
        info = json.loads(server.get("/object_info"))
    for blueprint in BLUEPRINTS:
        graph = drawn(blueprint, info)
        (FOLDER / f"{blueprint.name}.json").write_text(json.dumps(graph, indent=1) + "\n")


if __name__ == "__main__":
    main()
