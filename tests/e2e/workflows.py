"""What is wrong with a graph that the canvas has saved: for a server, and for the eye."""

import itertools

from tooling.canvas import WIDGETS, box, inputs, is_widget, nodes, paths, widgets


def compared(workflow: dict) -> dict:
    """Without the outputs that no wire leaves: newer hosts have some more."""

    def wired(node):
        return {**node, "outputs": [output for output in node["outputs"] if output["links"]]}

    return {**workflow, "nodes": [wired(node) for node in workflow["nodes"]]}


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


def overlaps(workflow: dict) -> list[str]:
    pairs = itertools.combinations(workflow["nodes"], 2)
    return [f"{a['type']} on {b['type']}" for a, b in pairs if meet(box(a), box(b))]


def meet(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(node: dict, group: dict) -> bool:
    left, top, right, bottom = box(node)
    x, y, width, height = group["bounding"]
    return x <= left and y <= top and right <= x + width and bottom <= y + height


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
