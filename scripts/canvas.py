"""A graph as ComfyUI's canvas saves it, from nodes that are placed and wired by name."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from scripts.routing import route
from tooling.canvas import SLOT, TITLE, is_controlled, is_widget

# Heights, as those are, in the canvas' pixels: of the host's new design of nodes, larger than its
# classic one's. TEXT is a widget of words; BADGE is what it writes below nodes of packs.
WIDGET, TEXT, BADGE = 28, 36, 24
MARGIN = 20  # around the nodes of a group
NOTE = "MarkdownNote"
SPACE = uuid.UUID("6f2d1c1e-58a5-4e0b-9c3d-2f3c55d0a8b1")  # of the ids of our graphs


@dataclass(frozen=True)
class Input:
    """One input of a node type, as /object_info describes it."""

    name: str
    type: str
    options: dict
    optional: bool

    @property
    def is_widget(self) -> bool:
        return is_widget(self.type, self.options)

    @property
    def companion(self) -> list:
        """What a widget adds to the saved values: a seed its control, a picture its button."""
        if is_controlled(self.name, self.options):
            return ["fixed"]
        return ["image"] if self.options.get("image_upload") else []


def inputs_of(info: dict) -> list[Input]:
    """The inputs of a node type in the canvas' order: sockets, then widgets."""
    found = []
    for kind in ("required", "optional"):
        for name, (type_, *options) in info["input"].get(kind, {}).items():
            options = options[0] if options else {}
            if isinstance(type_, list):
                type_, options = "COMBO", {"options": type_} | options
            found.append(Input(name, type_, options, kind == "optional"))
    return sorted(found, key=lambda input: input.is_widget)


@dataclass(frozen=True)
class Wire:
    """An output of a node, and the points that a link from it goes through."""

    node: "Node"
    name: str
    points: tuple = ()

    def via(self, *points) -> "Wire":
        return Wire(self.node, self.name, (*self.points, *points))


@dataclass
class Node:
    type: str
    x: float
    y: float
    width: float
    height: float
    heading: str | None
    values: dict
    id: int
    models: list = field(default_factory=list)  # files that it loads, for the canvas to offer

    def __getitem__(self, output: str) -> Wire:
        return Wire(self, output)

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass
class Canvas:
    """Nodes that are placed, with wires around them. `info` is a host's /object_info."""

    info: dict
    name: str
    left: float = 0  # of the column in which nodes are put
    right: float = 0
    nodes: list = field(default_factory=list)
    groups: list = field(default_factory=list)

    def column(self, left: float, width: float):
        self.left, self.right = left, left + width

    def add(self, type: str, y: float, heading=None, tall=0, /, **values) -> Node:
        width = self.right - self.left
        key = len(self.nodes) + 1
        node = Node(type, self.left, y, width, tall, heading, values, key)
        node.height = max(tall, self._least_height(node))
        self.nodes.append(node)
        return node

    def note(self, x, y, width, height, title: str, text: str):
        node = Node(NOTE, x, y, width, height, title, {"text": text}, len(self.nodes) + 1)
        self.nodes.append(node)

    def group(self, title: str, *nodes: Node, color="#3f789e"):
        left, top = (min(edge) for edge in zip(*((n.x, n.y - TITLE) for n in nodes)))
        right, bottom = (max(edge) for edge in zip(*((n.right, n.bottom) for n in nodes)))
        left, top, right, bottom = left - MARGIN, top - 2 * MARGIN, right + MARGIN, bottom + MARGIN
        bounding = [left, top, right - left, bottom - top]
        self.groups.append(
            {
                "id": len(self.groups) + 1, "title": title, "bounding": bounding, "color": color,
                "font_size": 20, "flags": {},
            }
        )  # fmt: skip

    def inputs(self, node: Node) -> list[Input]:
        return [] if node.type == NOTE else inputs_of(self.info[node.type])

    def _least_height(self, node):
        info, inputs = self.info[node.type], self.inputs(node)
        sockets = sum(not input.is_widget for input in inputs)
        widgets = sum(TEXT if i.type == "STRING" else WIDGET for i in inputs if i.is_widget)
        rows = max(sockets, len(info["output"]))
        badge = BADGE if info["python_module"].startswith("custom_nodes.") else 0
        return rows * SLOT + widgets + badge + 14

    def _routed(self):
        """Gives each wire its way around the nodes."""
        ends = [(node, name) for node in self.nodes for name in wires(node)]
        found = route([self._ends(*end) for end in ends], [box_of(node) for node in self.nodes])
        for (node, name), points in zip(ends, found):
            node.values[name] = Wire(node.values[name].node, node.values[name].name, points)

    def _ends(self, node, name):
        """Where a node's wire leaves its source and comes in."""
        wire, sockets = node.values[name], [input.name for input in self.inputs(node)]
        outputs = [output[0] for output in outputs_of(self.info[wire.node.type])]
        leaves = wire.node.right, wire.node.y + slot_height(outputs.index(wire.name))
        return leaves, (node.x, node.y + slot_height(sockets.index(name)))

    def json(self) -> dict:
        """The graph in the canvas' format 0.4."""
        self._routed()
        links = Links(self)
        return {
            "id": str(uuid.uuid5(SPACE, self.name)),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(links.saved),
            "nodes": [self._node(node, links) for node in self.nodes],
            "links": links.saved,
            "groups": self.groups,
            "config": {},
            "extra": {"ds": self._view()} | links.routes(),
            "version": 0.4,
        }

    def _view(self):
        """A scale and an offset that show the graph on an ordinary screen."""
        boxes = [*map(box_of, self.nodes), *map(frame_of, self.groups)]
        left, top, right, bottom = (list(edges) for edges in zip(*boxes))
        width, height = max(right) - min(left), max(bottom) - min(top)
        scale = round(min(1.0, 1480 / width, 870 / height), 3)
        return {"scale": scale, "offset": [90 / scale - min(left), 30 / scale - min(top)]}

    def _node(self, node, links):
        saved = {
            "id": node.id, "type": node.type, "pos": [node.x, node.y],
            "size": [node.width, node.height],
            "flags": {}, "order": links.order(node), "mode": 0,
            "inputs": self._sockets(node, links), "outputs": self._outputs(node, links),
            "properties": {}, "widgets_values": self._widgets_values(node),
        }  # fmt: skip
        if node.type == NOTE:
            return saved | {"title": node.heading, "color": "#432", "bgcolor": "#653"}
        saved["properties"] = {"Node name for S&R": node.type}
        if node.models:
            saved["properties"]["models"] = node.models
        return saved | ({"title": node.heading} if node.heading else {})

    def _sockets(self, node, links):
        sockets = []
        for input in self.inputs(node):
            socket = {"name": input.name, "type": input.type, "link": links.into(node, input.name)}
            if input.optional:
                socket["shape"] = 7
            if input.is_widget:
                socket["widget"] = {"name": input.name}
            sockets.append(socket)
        return sockets

    def _outputs(self, node, links):
        if node.type == NOTE:
            return []
        return [
            {"name": name, "type": type_, "links": links.out_of(node, name) or None}
            | ({"shape": 6} if listed else {})
            for name, type_, listed in outputs_of(self.info[node.type])
        ]

    def _widgets_values(self, node):
        if node.type == NOTE:
            return [node.values["text"]]
        values = []
        for input in self.inputs(node):
            if input.is_widget:
                given = input.name in node.values
                value = node.values[input.name] if given else default(input)
                values += [value, *input.companion]
        return values


def box_of(node: Node) -> tuple:
    return node.x, node.y - TITLE, node.right, node.bottom


def frame_of(group: dict) -> tuple:
    left, top, width, height = group["bounding"]
    return left, top, left + width, top + height


def slot_height(slot: int) -> float:
    """Of an input or an output, below its node's top."""
    return (slot + 0.7) * SLOT


def outputs_of(info: dict) -> Iterable[tuple[str, str, bool]]:
    listed = info.get("output_is_list") or [False] * len(info["output"])
    return zip(info["output_name"], info["output"], listed)


def default(input: Input):
    if "default" in input.options:
        return input.options["default"]
    return "" if input.type == "STRING" else input.options["options"][0]


class Links:
    """The links of a canvas, numbered, and the points that they go through."""

    def __init__(self, canvas: Canvas):
        self.ends, self.saved = [], []
        for node in canvas.nodes:
            sockets = [input.name for input in canvas.inputs(node)]
            for name in sorted(wires(node), key=sockets.index):
                self._add(canvas, node.values[name], node, name, sockets.index(name))

    def _add(self, canvas, wire, node, name, socket):
        outputs = list(outputs_of(canvas.info[wire.node.type]))
        slot = [output[0] for output in outputs].index(wire.name)
        key = len(self.saved) + 1
        self.ends.append((wire, node, name))
        self.saved.append([key, wire.node.id, slot, node.id, socket, outputs[slot][1]])

    def into(self, node, name):
        ends = [(end[1].id, end[2]) for end in self.ends]
        return ends.index((node.id, name)) + 1 if (node.id, name) in ends else None

    def out_of(self, node, name):
        source = (node.id, name)
        return [key for key, (w, *_) in enumerate(self.ends, 1) if (w.node.id, w.name) == source]

    def order(self, node) -> int:
        """A node's place in a run: behind all that it depends on."""
        depths = {}

        def depth(node):
            if node.id not in depths:
                before = [depth(node.values[name].node) for name in wires(node)]
                depths[node.id] = 1 + max(before, default=-1)
            return depths[node.id]

        return depth(node)

    def routes(self) -> dict:
        """Points that links share are one reroute."""
        reroutes, extensions = {}, []
        for key, (wire, *_) in enumerate(self.ends, 1):
            parent = None
            for end in range(1, len(wire.points) + 1):
                point = (wire.node.id, wire.name, wire.points[:end])
                fresh = {"id": len(reroutes) + 1, "pos": list(wire.points[end - 1]), "linkIds": []}
                fresh |= {"parentId": parent} if parent else {}
                reroute = reroutes.setdefault(point, fresh)
                reroute["linkIds"].append(key)
                parent = reroute["id"]
            if parent:
                extensions.append({"id": key, "parentId": parent})
        if not reroutes:
            return {}
        return {"reroutes": list(reroutes.values()), "linkExtensions": extensions}


def wires(node: Node) -> list[str]:
    return [name for name, value in node.values.items() if isinstance(value, Wire)]
