"""The pack in a real browser: a template is opened, run, changed, shared.

Screenshots of every step are kept in output/browser/<host>/.
"""

import base64
import json
import shutil
import time

import pytest
import torch
from playwright.sync_api import sync_playwright

from tests.e2e.server import ANSWER, picture
from tests.hosts import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
READY = "window.app?.extensionManager && window.app.graph"
OURS = "app.graph._nodes.some(node => node.type === 'ILVRSampler')"
SET = "([type, name, value]) => app.graph._nodes.find(n => n.type === type)" + (
    ".widgets.find(w => w.name === name).value = value"
)
DROP = """([name, data]) => {
    const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
    const dropped = new DataTransfer();
    dropped.items.add(new File([bytes], name, { type: "image/png" }));
    const event = new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true });
    document.querySelector("canvas#graph-canvas").dispatchEvent(event);
}"""


class Tab:
    """A browser's tab with ComfyUI in it."""

    def __init__(self, page, server, folder):
        self.page, self.server, self.folder = page, server, folder
        self.shots, self.complaints = 0, []
        page.on("console", self._listen)

    def _listen(self, message):
        source = message.location.get("url", "")
        if message.type == "error" and ("/ilvr/" in source or "ilvr" in message.text.lower()):
            self.complaints.append(f"{message.text} ({source})")

    def open(self):
        self.page.goto(self.server.url)
        self.page.wait_for_function(READY, timeout=1000 * ANSWER)
        self.page.wait_for_timeout(6000)  # a first visit opens the templates by itself
        self.page.on("pageerror", lambda error: self.complaints.append(error.stack))

    def shot(self, name):
        self.shots += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.folder / f"{self.shots}-{name}.png")

    def template(self, name):
        if not self.page.get_by_text("All Templates").count():
            self.command("Comfy.BrowseTemplates")
        self.page.get_by_text("ilvr", exact=True).first.click()
        self.page.wait_for_timeout(1500)
        self.shot("templates")
        self.page.get_by_placeholder("Search").last.fill(name)  # cards are drawn as one scrolls
        self.page.wait_for_timeout(1500)
        self.page.get_by_text(name).first.click()
        self.page.wait_for_function(OURS, timeout=1000 * ANSWER)
        self.page.wait_for_timeout(1500)

    def command(self, name):
        self.page.evaluate(f"app.extensionManager.command.execute('{name}')")

    def graph(self) -> dict:
        """The graph as the tab would queue it."""
        return self.page.evaluate("app.graphToPrompt().then(prompt => prompt.output)")

    def run(self):
        """Presses Run; (pictures, name and bytes of the first PNG) that came out of SaveImage."""
        before = set(self._history())
        self.page.get_by_role("button", name="Run", exact=True).first.click()
        patience = time.monotonic() + ANSWER
        while not (new := set(self._history()) - before) and time.monotonic() < patience:
            self.page.wait_for_timeout(300)
        entry = self._history()[new.pop()]
        assert entry["status"]["status_str"] == "success", entry["status"]
        self.page.wait_for_timeout(1500)
        (saved,) = [k for k, n in self.graph().items() if n["class_type"] == "SaveImage"]
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
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(20_000)
    tab = Tab(page, server, ROOT / "output" / "browser" / host.name)
    tab.open()
    yield tab
    page.close()


def test_a_template_opens_runs_changes_and_comes_back_from_its_picture(tab, server):
    tab.template("first-steps")
    tab.shot("opened")
    graph = tab.graph()
    first, (name, png) = tab.run()
    tab.shot("run")
    assert torch.equal(first, server.pixels(graph, saving(graph)))

    tab.page.evaluate(SET, ["LowPassFilter", "factor", 2])
    second, _ = tab.run()
    tab.shot("changed")
    assert (first - second).abs().mean() > 1
    assert tab.complaints == []

    tab.page.evaluate(DROP, [name, base64.b64encode(png).decode()])
    tab.page.wait_for_timeout(2500)
    tab.shot("dropped")
    assert tab.graph() == graph


def saving(graph):
    (key,) = [key for key, node in graph.items() if node["class_type"] == "SaveImage"]
    return key
