"""Graphs as the canvas saves them: what a server makes of them, and where their parts lie."""

import json

from tooling.hosts import ROOT

FOLDER = ROOT / "example_workflows"
NOTES = ("MarkdownNote", "Note")
WIDGETS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool, "COMBO": object}
TITLE, SLOT = 30, 20  # heights on the canvas
COLLAPSED = 170  # about the width of a Noised Reference that is collapsed to its title


def load(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())


def nodes(workflow: dict) -> list[dict]:
    """Those that a server runs."""
    return [node for node in workflow["nodes"] if node["type"] not in NOTES]


def prompt(workflow: dict, info: dict) -> dict:
    """The graph as the browser queues it, {id: {class_type, inputs}}."""
    origins = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    return {
        str(node["id"]): {
            "class_type": node["type"],
            "inputs": widgets(node, info) | _linked(node, origins),
        }
        for node in nodes(workflow)
    }


def _linked(node, origins):
    sockets = [socket for socket in node["inputs"] if socket["link"] is not None]
    return {socket["name"]: origins[socket["link"]] for socket in sockets}


def widgets(node: dict, info: dict) -> dict:
    """{name: value} of a saved node, whose values stand in the order of its widgets; a widget that
    is newer than the graph has its default."""
    values, named = iter(node["widgets_values"]), {}
    for name, (type_, options) in inputs(info[node["type"]]).items():
        if not is_widget(type_, options):
            continue
        named[name] = next(values, options.get("default"))
        if is_controlled(name, options):
            assert next(values) in ("fixed", "randomize", "increment", "decrement")
        if options.get("image_upload"):
            assert next(values) == "image"
    assert next(values, None) is None, f"{node['type']} has a value too many"
    return named


def inputs(info: dict) -> dict:
    """{name: (type, options)} of a node type, required ones first."""
    found = info["input"].get("required", {}) | info["input"].get("optional", {})
    return {name: (spec[0], spec[1] if len(spec) > 1 else {}) for name, spec in found.items()}


def is_widget(type_, options) -> bool:
    known = isinstance(type_, list) or type_ in WIDGETS
    return known and not options.get("forceInput", False)


def is_controlled(name, options) -> bool:
    """Whether the canvas has a control below this widget: for each seed, said or not."""
    return options.get("control_after_generate", name in ("seed", "noise_seed"))


def box(node: dict) -> tuple:
    """Left, top, right and bottom of a node with its title."""
    (x, y), (width, height) = node["pos"], size(node)
    return x, y - TITLE, x + width, y + height


def frames(workflow: dict) -> list[tuple]:
    """Left, top, right and bottom of each group."""
    return [(x, y, x + w, y + h) for x, y, w, h in (g["bounding"] for g in workflow["groups"])]


def extent(workflow: dict) -> tuple[float, float]:
    """Width and height of all that lies on the canvas."""
    boxes = [*map(box, workflow["nodes"]), *frames(workflow)]
    left, top, right, bottom = zip(*boxes)
    return max(right) - min(left), max(bottom) - min(top)


def zoom(workflow: dict) -> float:
    """With which a host shows a template in a window of 1600 x 1000: on three quarters of it."""
    width, height = extent(workflow)
    return min(0.75 * 1600 / width, 0.75 * 1000 / height)


def size(node: dict) -> tuple:
    return (COLLAPSED, 0) if node["flags"].get("collapsed") else tuple(node["size"])


def paths(workflow: dict) -> dict:
    """{link: the points that it goes through}, each as (x, y)."""
    by_id = {node["id"]: node for node in workflow["nodes"]}
    reroutes = {reroute["id"]: reroute for reroute in workflow["extra"].get("reroutes", [])}
    last = {e["id"]: e["parentId"] for e in workflow["extra"].get("linkExtensions", [])}
    found = {}
    for key, source, slot, target, socket, _ in workflow["links"]:
        points, reroute = [_slot(by_id[target], socket, 0)], last.get(key)
        while reroute:
            points.append(tuple(reroutes[reroute]["pos"]))
            reroute = reroutes[reroute].get("parentId")
        found[key] = [_slot(by_id[source], slot, size(by_id[source])[0]), *reversed(points)]
    return found


def _slot(node, slot, right):
    """Where a wire meets a node; in the middle of its title where it is collapsed."""
    down = -TITLE / 2 if node["flags"].get("collapsed") else (slot + 0.7) * SLOT
    return node["pos"][0] + right, node["pos"][1] + down
