"""The pack as the registry delivers it, the only custom node of a host: it needs nothing else."""

import json
import re
import shutil
from urllib.parse import quote

import pytest

from tests.e2e import graphs
from tests.test_published import published
from tooling.canvas import FOLDER
from tooling.hosts import ROOT
from tooling.server import PACK, picture, serving

NODES = sorted(json.loads((ROOT / "node_list.json").read_text()))
DOCS = f"/extensions/{PACK}/docs"


@pytest.fixture(scope="module")
def server(host, tmp_path_factory):
    """A server with a copy of the published files in place of a link to this repository."""
    files = tmp_path_factory.mktemp(f"published-{host.name}")
    for path in published():
        copy = files / "custom_nodes" / PACK / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    with serving(host, files, pack=False) as server:
        yield server


def test_it_loads(server):
    """Its one line in the log is how long that took."""
    folder = server.files / "custom_nodes" / PACK
    (line,) = (line for line in server.log().splitlines() if str(folder) in line)
    assert line.endswith(f" seconds: {folder}")


def test_it_has_every_node(server):
    offered = json.loads(server.get("/object_info"))
    module = f"custom_nodes.{PACK}"
    assert sorted(n for n, info in offered.items() if info["python_module"] == module) == NODES


def test_it_has_every_template(server):
    names = json.loads(server.get("/api/workflow_templates"))[PACK]
    assert sorted(names) == sorted(file.stem for file in FOLDER.glob("*.json"))
    for name in names:
        thumbnail = server.get(f"/api/workflow_templates/{PACK}/{quote(name)}.jpg")
        assert thumbnail == (FOLDER / f"{name}.jpg").read_bytes()


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_has_the_help_of(server, name, language):
    page = server.get(f"{DOCS}/{name}/{language}.md").decode()
    (shown,) = re.findall(r"!\[.+?\]\((.+?)\)", page)
    assert picture(server.get(f"{DOCS}/{shown}")).shape[1] == 3


def test_it_has_the_translations(server):
    translated = json.loads(server.get("/i18n"))
    assert all(sorted(translated[language]["nodeDefs"]) == NODES for language in ("en", "zh"))


def test_it_paints(server):
    one, other = server.pixels(graphs.ksampler())
    assert one.shape == (3, 64, 64) and one.std() > 20 and (one - other).abs().mean() > 1
    assert not re.search("import failed|traceback|error", server.log(), re.IGNORECASE)
