"""Draws subgraphs/*.json: a reference, a filter, a range and KSampler as one node of the canvas.

python -m scripts.blueprint
"""

import json
import tempfile
import uuid
from pathlib import Path

from scripts.canvas import SPACE, Canvas
from scripts.workflow_parts import SAMPLER
from tooling.hosts import ROOT, hosts
from tooling.server import serving

NAME = "KSampler (ILVR)"
FILE = ROOT / "subgraphs" / f"{NAME}.json"
ABOUT = "KSampler whose images keep the colours and the layout of a reference picture."
INPUT, OUTPUT = -10, -20  # the canvas' ids of a subgraph's two ends
SOCKETS = {  # of the node: which nodes inside take what comes in
    "model": [("ApplyILVR", "model")],
    "positive": [("KSampler", "positive")],
    "negative": [("KSampler", "negative")],
    "reference": [("NoisedReference", "image")],
    "vae": [("NoisedReference", "vae")],
}
WIDGETS = [
    ("LowPassFilter", "factor"), ("ConditioningRange", "start"), ("ConditioningRange", "end"),
    ("KSampler", "seed"), ("KSampler", "steps"), ("KSampler", "cfg"), ("KSampler", "sampler_name"),
    ("KSampler", "scheduler"), ("NoisedReference", "batch_size"),
]  # fmt: skip


def inside(info: dict) -> dict:
    """The graph of the nodes inside, with nothing coming in yet."""
    c = Canvas(info, NAME)
    c.column(270)
    noised = c.add("NoisedReference", 120)
    low_pass = c.add("LowPassFilter", 340, factor=64)
    range = c.add("ConditioningRange", 550)
    c.column(270)
    guides = {
        "reference": noised["reference"],
        "low_pass": low_pass["low_pass"],
        "range": range["range"],
    }
    guided = c.add("ApplyILVR", 0, **guides)
    c.column(270)
    settings = {"steps": 20, "cfg": 7.0, **SAMPLER}
    c.add(
        "KSampler", 0, model=guided["MODEL"], latent_image=noised["latent"], seed=0, **settings
    )  # fmt: skip
    return c.json()


def blueprint(info: dict) -> dict:
    graph = inside(info)
    nodes = {node["type"]: node for node in graph["nodes"]}
    links = [dict(zip(LINK, link)) for link in graph["links"]]
    inputs = [_input(name, i, nodes, links) for i, name in enumerate(SOCKETS)]
    outputs = [_output(nodes["KSampler"], links)]
    definition = {
        "id": _id("definition"), "version": 1, "revision": 0, "config": {}, "name": NAME,
        "state": {
            "lastNodeId": len(nodes), "lastLinkId": len(links), "lastGroupId": 0,
            "lastRerouteId": 0,
        },
        "inputNode": {"id": INPUT, "bounding": [-220, 0, 120, 140]},
        "outputNode": {"id": OUTPUT, "bounding": [1010, 0, 120, 60]},
        "inputs": inputs, "outputs": outputs, "widgets": [], "nodes": graph["nodes"],
        "groups": [], "links": links, "extra": {}, "category": "ILVR", "description": ABOUT,
    }  # fmt: skip
    return {
        "revision": 0, "last_node_id": len(nodes) + 1, "last_link_id": 0, "links": [],
        "nodes": [_node(len(nodes) + 1, nodes, inputs, outputs)],
        "definitions": {"subgraphs": [definition]}, "extra": {}, "version": 0.4,
    }  # fmt: skip


LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


def _id(name):
    return str(uuid.uuid5(SPACE, f"{NAME} {name}"))


def _input(name, slot, nodes, links):
    """An input of the subgraph, and its links to the nodes inside."""
    keys = []
    for kind, taker in SOCKETS[name]:
        node = nodes[kind]
        socket = next(i for i, s in enumerate(node["inputs"]) if s["name"] == taker)
        type_, key = node["inputs"][socket]["type"], len(links) + 1
        links.append(dict(zip(LINK, (key, INPUT, slot, node["id"], socket, type_))))
        node["inputs"][socket]["link"] = key
        keys.append(key)
    position = [-120, 20 + 20 * slot]
    return {"id": _id(name), "name": name, "type": type_, "linkIds": keys, "pos": position}


def _output(sampler, links):
    key = len(links) + 1
    links.append(dict(zip(LINK, (key, sampler["id"], 0, OUTPUT, 0, "LATENT"))))
    sampler["outputs"][0]["links"] = [key]
    common = {"name": "LATENT", "type": "LATENT", "linkIds": [key]}
    return {"id": _id("LATENT"), **common, "pos": [1030, 20]}


def _node(key, nodes, inputs, outputs):
    """The one node that the canvas shows, with the widgets that it takes from those inside."""
    sockets = [{"name": i["name"], "type": i["type"], "link": None} for i in inputs]
    results = [{"name": o["name"], "type": o["type"], "links": []} for o in outputs]
    shown = [[str(nodes[kind]["id"]), widget] for kind, widget in WIDGETS]
    return {
        "id": key, "type": _id("definition"), "title": NAME, "pos": [0, 0], "size": [300, 330],
        "flags": {}, "order": 0, "mode": 0, "inputs": sockets, "outputs": results,
        "properties": {"proxyWidgets": shown}, "widgets_values": [],
    }  # fmt: skip


def main():
    with tempfile.TemporaryDirectory() as files, serving(hosts()[0], Path(files)) as server:
        graph = blueprint(json.loads(server.get("/object_info")))
    FILE.write_text(json.dumps(graph, indent=1) + "\n")


if __name__ == "__main__":
    main()
