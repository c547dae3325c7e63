"""The pack in a real browser: a template is opened, run, changed, shared, saved; the nodes are
looked up and searched for.

Screenshots of every step are kept in output/browser/<host>/.
"""

import base64
import json
import re
import shutil
import time

import pytest
import torch
from playwright.sync_api import sync_playwright

from tests.e2e import graphs
from tooling.canvas import FOLDER, nodes, prompt
from tooling.hosts import ROOT
from tooling.server import ANSWER, picture

FIRST_STEPS = "ILVR 1 Start here"
SAVED = ROOT / "tests" / "data" / "workflows"

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREEN, WALL = {"width": 1600, "height": 1000}, {"width": 3000, "height": 1500}
READY = """() => {
    const shown = window.app?.extensionManager;
    return shown?.spinner === false && shown.workflow?.activeWorkflow && app.graph;
}"""
OURS = "app.graph._nodes.some(node => ['ApplyILVR', 'ILVRSampler'].includes(node.type))"
WIDGET = "app.graph._nodes.find(n => n.type === type)?.widgets.find(w => w.name === name)"
SET = f"([type, name, value]) => {{ const widget = {WIDGET}; widget.value = value; }}"
HAS = f"([type, name, value]) => {WIDGET}?.value === value"
KEPT = """path => {
    const { activeWorkflow } = app.extensionManager.workflow;
    return activeWorkflow?.path === path && activeWorkflow.isPersisted;
}"""
CLOSER = """() => {
    const corner = axis => Math.min(...app.graph._nodes.map(node => node.pos[axis]));
    Object.assign(app.canvas.ds, { scale: 1, offset: [120 - corner(0), 160 - corner(1)] });
    app.canvas.draw(true, true);
}"""
ALONE = """type => {
    const node = LiteGraph.createNode(type);
    node.pos = [600, 300];
    app.graph.clear();
    app.graph.add(node);
    Object.assign(app.canvas.ds, { scale: 1, offset: [0, 0] });
    app.canvas.draw(true, true);  // only now the node has a place for its buttons
    app.canvas.selectNode(node);
}"""
SPREAD = """() => {
    const columns = { LoadUnconditionalModel: [40, 60], ExampleReference: [40, 320],
        VAEEncode: [360, 320], KSampler: [940, 60], VAEDecode: [1240, 60], SaveImage: [1240, 220] };
    for (const node of app.graph._nodes) node.pos = columns[node.type];
    Object.assign(app.canvas.ds, { scale: 1, offset: [60, 100] });
    app.canvas.draw(true, true);
}"""
WIDTH = "picture => picture.decode().then(() => picture.naturalWidth)"
LOAD = "graph => app.loadGraphData(graph)"
LOAD_API = "graph => app.loadApiJson(graph, 'two-nodes')"
# Where the newer design of nodes is on, it draws them as elements of the page.
PLACES = """() => {
    const drawn = [...document.querySelectorAll("[data-node-id]")];
    const frames = app.graph._groups.map(({ pos, size }) => [...pos, ...size]);
    const nodes = app.graph._nodes.filter(node => node.type !== "MarkdownNote").map(node => {
        const element = drawn.find(each => each.dataset.nodeId === String(node.id));
        const height = element ? element.offsetHeight - 30 : node.size[1];
        return { type: node.type, box: [node.pos[0], node.pos[1] - 30, node.size[0], height + 30] };
    });
    return { zoom: app.canvas.ds.scale, drawn: drawn.length, frames, nodes };
}"""
ADD = """([type, x, y]) => {
    const node = LiteGraph.createNode(type);
    node.pos = [x, y];
    app.graph.add(node);
    app.canvas.draw(true, true);
}"""
SOCKET = """([type, isInput, name]) => {
    const node = app.graph._nodes.find(node => node.type === type);
    const sockets = isInput ? node.inputs : node.outputs;
    const slot = sockets.findIndex(socket => socket.name === name);
    const [x, y] = node.getConnectionPos(isInput, slot);
    const { scale, offset } = app.canvas.ds, frame = app.canvas.canvas.getBoundingClientRect();
    return [frame.left + (x + offset[0]) * scale, frame.top + (y + offset[1]) * scale];
}"""
DROP = """([name, data]) => {
    const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
    const dropped = new DataTransfer();
    dropped.items.add(new File([bytes], name, { type: "image/png" }));
    const event = new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true });
    document.querySelector("canvas#graph-canvas").dispatchEvent(event);
}"""
COUNT = "window.clicks = 0; addEventListener('pointerdown', () => window.clicks++, true)"


class Tab:
    """A browser's tab with ComfyUI in it."""

    def __init__(self, page, server, folder):
        self.page, self.server, self.folder = page, server, folder
        self.started, self.complaints = False, []
        page.on("console", self._listen)
        page.on("pageerror", self._note)

    def _listen(self, message):
        source = message.location.get("url", "")
        if message.type == "error" and ("/ilvr/" in source or "ilvr" in message.text.lower()):
            self.complaints.append(f"{message.text} ({source})")

    def _note(self, error):
        if self.started:  # some frontends have errors of their own while they start
            self.complaints.append(error.stack)

    def open(self):
        # a first visit would open the templates by itself, some time later
        self.server.post("/settings", **{"Comfy.TutorialCompleted": True})
        self.page.goto(self.server.url)
        self._wait_until_ready()

    def reload(self):
        self.started = False
        self.page.reload()
        self._wait_until_ready()

    def _wait_until_ready(self):
        self.page.wait_for_function(READY)
        self.started = True

    def shot(self, name):
        self.page.screenshot(path=self.folder / f"{name}.png")

    def close_up(self, name):
        """A shot of all of the graph in which one can read what is on the nodes."""
        self.page.set_viewport_size(WALL)
        self.page.wait_for_function("app.canvas.canvas.width > 2000")
        self.page.evaluate(CLOSER)
        self.shot(name)
        self.page.set_viewport_size(SCREEN)

    def template(self, name):
        """Opens a template with three clicks: Templates, the pack, the card."""
        self.page.get_by_role("button", name="Templates").first.click()
        self.page.get_by_text("ilvr", exact=True).first.click()
        self.page.wait_for_timeout(1500)
        self.shot("templates")
        self.search_templates(name)  # cards are drawn as one scrolls
        self.page.get_by_text(name).first.click()
        self.page.wait_for_function(OURS)
        self.page.wait_for_timeout(1500)

    def search_templates(self, words):
        self.page.get_by_placeholder("Search").last.fill(words)
        self.page.wait_for_timeout(1500)

    def command(self, name):
        self.page.evaluate(f"app.extensionManager.command.execute('{name}')")

    def save(self, name):
        self.page.keyboard.press("Control+s")
        self.page.get_by_role("dialog").get_by_role("textbox").fill(name)
        self.shot("save")
        self.page.keyboard.press("Enter")
        self.page.wait_for_function(KEPT, arg=f"workflows/{name}.json")

    def open_saved(self, name):
        self.page.keyboard.press("w")
        self.page.get_by_text(re.compile(rf"^{name}(\.json)?$")).click()
        self.page.wait_for_function(KEPT, arg=f"workflows/{name}.json")

    def help(self, node):
        """The help of a node, which is then alone in the graph."""
        self.page.evaluate(ALONE, node)
        self.page.get_by_test_id("info-button").click()
        return self.page.locator(".node-help-content")

    def search(self, words):
        """What the search for nodes answers to these words."""
        self.command("Comfy.NewBlankWorkflow")
        self.command("Workspace.SearchBox.Toggle")  # a busy machine's double click may be too slow
        self.page.get_by_role("dialog").wait_for()
        self.page.keyboard.type(words)
        return self.page.get_by_role("option")

    def graph(self) -> dict:
        """The graph as the tab would queue it."""
        return self.page.evaluate("app.graphToPrompt().then(prompt => prompt.output)")

    def places(self, graph, design):
        """How a graph lies on the canvas as the host shows a template: zoom, nodes, groups."""
        self.page.evaluate(LOAD, graph)
        self.page.wait_for_timeout(1500)
        if design != "oldest":  # which keeps to the view that was saved
            self.command("Comfy.Canvas.FitView")
            self.page.wait_for_timeout(1500)
        return self.page.evaluate(PLACES)

    def wire(self, source, output, target, input):
        """Draws a wire with the mouse."""
        ends = (source, False, output), (target, True, input)
        start, end = (self.page.evaluate(SOCKET, list(socket)) for socket in ends)
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=8)
        self.page.mouse.up()
        self.page.wait_for_timeout(300)

    def run(self):
        """Presses Run; (pictures, name and bytes of the first PNG) that came out."""
        before = set(self._history())
        self.page.get_by_role("button", name="Run", exact=True).first.click()
        patience = time.monotonic() + ANSWER
        while not (new := set(self._history()) - before) and time.monotonic() < patience:
            self.page.wait_for_timeout(300)
        entry = self._history()[new.pop()]
        assert entry["status"]["status_str"] == "success", entry["status"]
        self.page.wait_for_timeout(1500)
        saved = saving(self.graph())
        files = entry["outputs"][saved]["images"]
        pngs = [self.server.get("/view", **file) for file in files]
        return torch.cat(list(map(picture, pngs))), (files[0]["filename"], pngs[0])

    def _history(self):
        return json.loads(self.server.get("/history"))


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("the browser: no chromium was found; install one.")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def tab(browser, server, host):
    page = browser.new_page(viewport=SCREEN)
    page.set_default_timeout(1000 * ANSWER)
    page.add_init_script(COUNT)
    tab = Tab(page, server, ROOT / "output" / "browser" / host.name)
    tab.open()
    yield tab
    page.close()
    assert tab.complaints == []


def test_a_template_opens_runs_changes_and_comes_back_from_its_picture(tab, server):
    tab.template(FIRST_STEPS)
    tab.shot("opened")
    tab.close_up("opened-close")
    assert tab.page.evaluate("clicks") == 3  # and Run
    graph = tab.graph()
    (factor,) = [
        n["inputs"]["factor"] for n in graph.values() if n["class_type"] == "LowPassFilter"
    ]
    first, (name, png) = tab.run()
    tab.close_up("run")
    assert torch.equal(first, server.pixels(graph, saving(graph)))

    tab.page.evaluate(SET, ["LowPassFilter", "factor", 128])
    second, _ = tab.run()
    tab.close_up("changed")
    assert (first - second).abs().mean() > 1

    tab.page.evaluate(DROP, [name, base64.b64encode(png).decode()])
    tab.page.wait_for_function(HAS, arg=["LowPassFilter", "factor", factor])
    tab.close_up("dropped")
    assert tab.graph() == graph


def test_a_saved_workflow_is_the_same_after_a_reload_and_opened_again(tab):
    tab.template(FIRST_STEPS)
    tab.page.evaluate(SET, ["LowPassFilter", "factor", 3])
    graph = tab.graph()
    tab.save("three")
    tab.reload()
    tab.close_up("reloaded")
    assert tab.graph() == graph

    tab.command("Workspace.CloseWorkflow")
    tab.open_saved("three")
    tab.shot("opened-again")
    assert tab.graph() == graph


def test_a_workflow_saved_before_its_sockets_changed_places_is_the_same_graph(tab, server):
    saved = json.loads((SAVED / "first-steps-0.1.0.json").read_text("utf-8"))
    tab.page.evaluate(LOAD, saved)
    tab.page.wait_for_function(OURS)
    wanted = prompt(saved, json.loads(server.get("/object_info")))
    assert {key: named(n) for key, n in tab.graph().items()} == wanted
    assert server.pixels(wanted, saving(wanted)).std() > 20


def named(node):
    return {"class_type": node["class_type"], "inputs": node["inputs"]}


def test_two_nodes_wired_by_hand_into_a_graph_paint_what_the_server_does(tab, server):
    bare = graphs.img2img()
    tab.page.evaluate(LOAD_API, {key: n | {"_meta": {}} for key, n in bare.items()})
    tab.page.wait_for_function("app.graph._nodes.length === 6")
    tab.page.evaluate(SPREAD)
    for type_, x, y in (("LowPassFilter", 360, 60), ("ApplyILVR", 640, 60)):
        tab.page.evaluate(ADD, [type_, x, y])
    for wire in (
        ("LoadUnconditionalModel", "MODEL", "ApplyILVR", "model"),
        ("LowPassFilter", "low_pass", "ApplyILVR", "low_pass"),
        ("ApplyILVR", "MODEL", "KSampler", "model"),
    ):
        tab.wire(*wire)
    tab.page.evaluate(SET, ["LowPassFilter", "factor", 8])
    tab.shot("two-nodes")
    painted, _ = tab.run()
    tab.shot("two-nodes-run")
    assert torch.equal(painted, server.pixels(graphs.img2img(factor=8)))


@pytest.mark.parametrize("design", ["classic", "new"])
def test_templates_open_readable_and_their_groups_hold_their_nodes(tab, server, host, design):
    older = "search_aliases" not in server.get("/object_info/VAEDecode").decode()
    if older and design == "new":
        pytest.skip(f"{host.name} has one design of nodes")
    server.post("/settings", **{"Comfy.VueNodes.Enabled": design == "new"})
    tab.reload()
    for file in sorted(FOLDER.glob("*.json")):
        graph = json.loads(file.read_text("utf-8"))
        if graph_needs_a_pack(graph, server):
            continue
        found = tab.places(graph, "oldest" if older else design)
        tab.shot(f"{design}-{file.stem}")
        assert found["zoom"] >= 0.6 and bool(found["drawn"]) == (design == "new"), file.stem
        for node in found["nodes"]:
            assert any(holds(frame, node["box"]) for frame in found["frames"]), (file.stem, node)


def graph_needs_a_pack(graph, server):
    offered = json.loads(server.get("/object_info"))
    return any(node["type"] not in offered for node in nodes(graph))


def holds(frame, box):
    (x, y, width, height), (left, top, wide, high) = frame, box
    return x <= left and y <= top and left + wide <= x + width and top + high <= y + height


def test_each_node_has_its_help(tab):
    for node in json.loads((ROOT / "node_list.json").read_text()):
        panel = tab.help(node)
        panel.get_by_text(first_sentence(node)).wait_for()
        picture = panel.get_by_role("img")
        assert picture.get_attribute("src").endswith(f"{node}/effect.jpg")
        assert picture.evaluate(WIDTH) > 0
        tab.shot(f"help-{node}")


@pytest.fixture
def aliases(server, host):
    """Skips where the host, its frontend included, knows no other names for a node."""
    if "search_aliases" not in server.get("/object_info/VAEDecode").decode():
        pytest.skip(f"{host.name} searches for nodes by their names only")


FIRST = "Apply ILVR", "keep composition", "tile colorfix", "构图", "重绘"
SEARCHES = {
    "Apply ILVR": [*FIRST[1:], "layout", "img2img", "relight", "color match", "颜色"],
    "Match Low Frequencies": ["color match", "颜色"],
}


@pytest.mark.parametrize("node, words", [(n, w) for n, all in SEARCHES.items() for w in all])
def test_the_search_knows_what_the_nodes_are_for(aliases, tab, node, words):
    found = tab.search(words)
    found.filter(has_text=node).first.wait_for()
    if node == FIRST[0] and words in FIRST:
        assert node in found.first.inner_text()
    tab.shot(f"search-{words.replace(' ', '-')}")


def test_the_search_for_templates_finds_ours_by_the_packs_name(aliases, tab):
    tab.command("Comfy.BrowseTemplates")
    tab.search_templates("ilvr")
    tab.shot("search-templates")
    for file in FOLDER.glob("*.json"):
        assert tab.page.get_by_text(file.stem, exact=True).first.is_visible(), file.stem


def first_sentence(node) -> str:
    """What the help of a node begins with, under its title."""
    return (ROOT / "web" / "docs" / node / "en.md").read_text().splitlines()[2]


def saving(graph):
    outputs = ("SaveImage", "ContactSheet")
    (key,) = [key for key, node in graph.items() if node["class_type"] in outputs]
    return key
