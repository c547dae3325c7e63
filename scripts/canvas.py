"""A graph as ComfyUI's canvas saves it, from nodes that are placed in columns and wired by name."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from tooling.canvas import COLLAPSED, SLOT, TITLE, is_controlled, is_widget

WIDGET = 24  # a height, as those are, in the canvas' pixels
GAP, GROUP_GAP, MARGIN = 50, 110, 20  # between columns; around the nodes of a group
NOTE = "Note"
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
    collapsed: bool = False  # to its title, where all its wires meet

    def __getitem__(self, output: str) -> Wire:
        return Wire(self, output)

    @property
    def right(self) -> float:
        return self.x + (COLLAPSED if self.collapsed else self.width)

    @property
    def bottom(self) -> float:
        return self.y + (0 if self.collapsed else self.height)

    def connect(self, **wires: Wire):
        self.values |= wires


@dataclass
class Canvas:
    """Nodes from left to right. `info` is a host's /object_info."""

    info: dict
    name: str
    top: float = 0  # what nodes' heights count from
    left: float = 0
    right: float = -GAP
    nodes: list = field(default_factory=list)
    groups: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def row(self, top: float):
        """Starts again at the left, lower down."""
        self.top, self.left, self.right = top, 0, -GAP

    def column(self, width: float, gap: float = GAP):
        """The next column, in which nodes are put from now on."""
        self.left = self.right + gap
        self.right = self.left + width

    def points(self, *points):
        """Points whose heights count from the present row."""
        return [(x, self.top + y) for x, y in points]

    def add(self, type: str, y: float, heading=None, tall=0, /, **values) -> Node:
        width = self.right - self.left
        y, key = self.top + y, len(self.nodes) + 1
        node = Node(type, self.left, y, width, tall, heading, values, key)
        node.height = max(tall, self._least_height(node))
        self.nodes.append(node)
        return node

    def note(self, x: float, y: float, width: float, title: str, text: str):
        height = 110
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
                "font_size": 24, "flags": {},
            }
        )  # fmt: skip

    def inputs(self, node: Node) -> list[Input]:
        return [] if node.type == NOTE else inputs_of(self.info[node.type])

    def _least_height(self, node):
        inputs = self.inputs(node)
        sockets = sum(not input.is_widget for input in inputs)
        widgets = sum(1 + len(i.companion) for i in inputs if i.is_widget)
        rows = max(sockets, len(self.info[node.type]["output"]))
        return rows * SLOT + widgets * WIDGET + 14

    def json(self) -> dict:
        """The graph in the canvas' format 0.4."""
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
        left = min(node.x for node in self.nodes) - 2 * MARGIN
        top = min(node.y for node in self.nodes) - 4 * MARGIN
        scale = min(1.0, 1500 / (max(node.right for node in self.nodes) - left))
        return {"scale": round(scale, 3), "offset": [-left, -top + 100]}

    def _node(self, node, links):
        saved = {
            "id": node.id, "type": node.type, "pos": [node.x, node.y],
            "size": [node.width, node.height],
            "flags": {"collapsed": True} if node.collapsed else {},
            "order": links.order(node), "mode": 0,
            "inputs": self._sockets(node, links), "outputs": self._outputs(node, links),
            "properties": {}, "widgets_values": self._widgets_values(node),
        }  # fmt: skip
        if node.type == NOTE:
            return saved | {"title": node.heading, "color": "#432", "bgcolor": "#653"}
        saved["properties"] = {"Node name for S&R": node.type}
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
