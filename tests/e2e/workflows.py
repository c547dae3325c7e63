"""Graphs as the canvas saves them: what a server makes of them, and how they lie there."""

import itertools
import json

from tests.hosts import ROOT

FOLDER = ROOT / "workflows"
NOTES = ("MarkdownNote", "Note")
WIDGETS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool, "COMBO": object}
TITLE, SLOT = 30, 20  # heights on the canvas
COLLAPSED = 170  # about the width of a Noised Reference that is collapsed to its title


def load(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())


def compared(workflow: dict) -> dict:
    """Without the outputs that no wire leaves: newer hosts have some more."""

    def wired(node):
        return {**node, "outputs": [output for output in node["outputs"] if output["links"]]}

    return {**workflow, "nodes": [wired(node) for node in workflow["nodes"]]}


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
    """{name: value} of a saved node, whose values stand in the order of its widgets."""
    values, named = iter(node["widgets_values"]), {}
    for name, (type_, options) in inputs(info[node["type"]]).items():
        if not is_widget(type_, options):
            continue
        named[name] = next(values, None)
        if options.get("control_after_generate"):
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


def wrong(workflow: dict, info: dict) -> list[str]:
    """Why a server or a canvas could not take this graph."""
    missing = {node["type"] for node in nodes(workflow)} - set(info)
    if missing:
        return [f"no node type {name}" for name in sorted(missing)]
    complaints = [fault for node in nodes(workflow) for fault in _node_faults(node, info)]
    return complaints + _link_faults(workflow, info)


def _node_faults(node, info):
    declared = inputs(info[node["type"]])
    faults = [
        f"{node['type']}: {name} can not be {value!r}"
        for name, value in widgets(node, info).items()
        if not legal(value, *declared[name])
    ]
    linked = {socket["name"] for socket in node["inputs"] if socket["link"] is not None}
    needed = set(info[node["type"]]["input"].get("required", {}))
    named = set(widgets(node, info)) | linked
    faults += [f"{node['type']}: {name} has no link" for name in sorted(needed - named)]
    sockets = [socket["name"] for socket in node["inputs"]]
    by_kind = sorted(declared, key=lambda name: is_widget(*declared[name]))
    return faults + ([] if sockets == by_kind else [f"{node['type']}: its inputs are {sockets}"])


def legal(value, type_, options) -> bool:
    """Whether a widget can have this value."""
    if isinstance(type_, list):
        return value in type_
    if type_ == "COMBO":
        return value in options["options"]
    if not isinstance(value, WIDGETS[type_]):
        return False
    low, high = options.get("min", value), options.get("max", value)
    return type_ not in ("INT", "FLOAT") or low <= value <= high


def _link_faults(workflow, info):
    by_id, faults = {node["id"]: node for node in workflow["nodes"]}, []
    for key, source, slot, target, socket, type_ in workflow["links"]:
        source, target = by_id[source], by_id[target]
        output, input = source["outputs"][slot], target["inputs"][socket]
        given = info[source["type"]]["output"][slot]
        taken = inputs(info[target["type"]])[input["name"]][0]
        if not given == taken == type_ == output["type"] == input["type"]:
            faults.append(f"{source['type']} -> {target['type']}: {given} into {taken}")
        if key not in (output["links"] or []) or input["link"] != key:
            faults.append(f"{source['type']} -> {target['type']}: its ends do not know the link")
    return faults


def box(node: dict) -> tuple:
    """Left, top, right and bottom of a node with its title."""
    (x, y), (width, height) = node["pos"], size(node)
    return x, y - TITLE, x + width, y + height


def size(node: dict) -> tuple:
    return (COLLAPSED, 0) if node["flags"].get("collapsed") else tuple(node["size"])


def overlaps(workflow: dict) -> list[str]:
    pairs = itertools.combinations(workflow["nodes"], 2)
    return [f"{a['type']} on {b['type']}" for a, b in pairs if meet(box(a), box(b))]


def meet(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(node: dict, group: dict) -> bool:
    left, top, right, bottom = box(node)
    x, y, width, height = group["bounding"]
    return x <= left and y <= top and right <= x + width and bottom <= y + height


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


def crossings(workflow: dict) -> list[tuple]:
    """Where wires cross, with straight pieces between their points; shared pieces count once."""
    pieces = {piece for path in paths(workflow).values() for piece in itertools.pairwise(path)}
    pairs = itertools.combinations(sorted(pieces), 2)
    return [(a, b) for a, b in pairs if not {*a} & {*b} and _cross(*a, *b)]


def _cross(a, b, c, d):
    """Whether the open segments ab and cd have a point in common."""

    def side(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def hidden(workflow: dict) -> list[str]:
    """Wires that run behind a node."""
    pieces = {piece for path in paths(workflow).values() for piece in itertools.pairwise(path)}
    return [
        f"{a} to {b} behind {node['type']}"
        for a, b in sorted(pieces)
        for node in workflow["nodes"]
        if _behind(a, b, box(node))
    ]


def _behind(a, b, rectangle):
    left, top, right, bottom = rectangle
    steps = (i / 50 for i in range(1, 50))
    points = ((a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s) for s in steps)
    return any(left + 1 < x < right - 1 and top + 1 < y < bottom - 1 for x, y in points)
