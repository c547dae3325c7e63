"""What imports what: the arrows of the house go down, and nothing published reaches our tools."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tooling.hosts import ROOT

ROOMS = [  # of ilvr/, as in CONTRIBUTING.md: each may import those behind it
    "__main__", "cli", "parser", "evaluation", "adapters", "settings", "samplers", "checkpoint",
    "model", "unet", "autoencoder", "guidance", "reference",
    "noise", "low_pass", "resampling", "schedule", "image", "disk",
    "kinds", "values",
]  # fmt: skip
MAY = {  # what each of our folders may import of the others
    "ilvr": set(),
    "nodes": {"ilvr"},
    "training": {"ilvr"},
    "tooling": {"ilvr", "training"},
    "benchmarks": {"ilvr", "training", "tooling"},
    "scripts": {"ilvr", "training", "tooling"},
    "tests": {"ilvr", "training", "tooling", "benchmarks", "scripts"},
}
HOST = {"comfy", "comfy_api", "execution", "folder_paths", "nodes", "server"}


def imports(path: Path, source: str) -> Iterator[str]:
    """What Python source in the file `path` below ROOT imports, with dots; a host's modules and
    others' by their names, ours with a slash before them."""
    folder = ["", *path.parent.parts]
    for item in ast.walk(ast.parse(source)):
        if isinstance(item, ast.Import):
            yield from (_ours(name.name) for name in item.names)
        elif isinstance(item, ast.ImportFrom):
            module = item.module.split(".") if item.module else []
            if item.level:
                module = [*folder[: len(folder) + 1 - item.level], *module]
            names = [".".join([*module, name.name]) for name in item.names]
            yield from (name.replace(".", "/", 1) if item.level else _ours(name) for name in names)


def _ours(name):
    """`nodes` by its full name is the host's: ours never stands before it."""
    return f"/{name}" if name.split(".")[0] in {*MAY} - {"nodes"} else name


def sources(folder: str) -> list[Path]:
    """Its files, below ROOT."""
    return sorted(path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py"))


def wrong(path: Path, source: str) -> list[str]:
    """Arrows in a file that do not go down."""
    found = list(imports(path, source))
    ours = [name[1:].split(".") for name in found if name.startswith("/")]
    bad = [name for name in ours if name[0] not in {*MAY[path.parts[0]], path.parts[0]}]
    if path.parts[0] == "ilvr":
        bad += [[name] for name in found if name.split(".")[0] in HOST]
        bad += [name for name in ours if name[0] == "ilvr" and not _down(path, name)]
    if path.parts[0] == "nodes" and path.parts[1] != "host":
        bad += [[name] for name in found if name.split(".")[0] in HOST - {"comfy_api"}]
    if path.parts[:2] == ("nodes", "host"):
        bad += [name for name in ours if name[0] == "nodes" and name[1] != "host"]
    return [f"{path.as_posix()} imports {'.'.join(name)}" for name in bad]


def _down(path, name):
    """Whether an import of one of ilvr's rooms is from above it, or from inside it."""
    here = path.with_suffix("").parts[1]
    if here == "__init__":
        return True
    room = name[1] if len(name) > 1 else "__init__"
    return room == here or (room in ROOMS and ROOMS.index(here) < ROOMS.index(room))


@pytest.mark.parametrize(
    "path, source",
    [
        ("ilvr/guidance.py", "from .samplers import sample"),
        ("ilvr/guidance.py", "from . import samplers"),
        ("ilvr/guidance.py", "from ilvr import samplers"),
        ("ilvr/guidance.py", "def late():\n    import ilvr.cli"),
        ("ilvr/image.py", "from . import LowPassFilter"),
        ("ilvr/checkpoint/files.py", "from ..cli import main"),
        ("ilvr/checkpoint/files.py", "from .. import samplers"),
        ("ilvr/cli.py", "from ..nodes import host"),
        ("ilvr/cli.py", "import comfy.samplers"),
        ("ilvr/cli.py", "import nodes"),
        ("ilvr/cli.py", "from tooling import hosts"),
        ("nodes/model.py", "from tooling.hosts import ROOT"),
        ("nodes/model.py", "from ..tests import core"),
        ("nodes/model.py", "import folder_paths"),
        ("nodes/host/ddpm.py", "from ..model import DDPMSampler"),
        ("nodes/host/ddpm.py", "from ...training import render"),
        ("tooling/server.py", "from tests.e2e import graphs"),
        ("tooling/server.py", "import benchmarks.speed"),
        ("tooling/server.py", "from scripts import canvas"),
        ("scripts/canvas.py", "from benchmarks import speed"),
        ("training/data.py", "from tooling import pictures"),
    ],
)
def test_an_arrow_that_goes_up_is_found(path, source):
    assert len(wrong(Path(path), source)) == 1


@pytest.mark.parametrize(
    "path, source",
    [
        ("ilvr/__init__.py", "from .samplers import sample"),
        ("ilvr/__main__.py", "from .cli import main"),
        ("ilvr/samplers.py", "from .model import DiffusionModel\nfrom .guidance import Refinement"),
        ("ilvr/checkpoint/files.py", "from ..model import Configuration\nfrom . import layouts"),
        ("ilvr/cli.py", "import torch\nfrom .evaluation import run"),
        ("nodes/sweep.py", "from comfy_api.latest import io\nfrom ..ilvr import LowPassFilter"),
        ("nodes/sweep.py", "from .host.schema import schema\nfrom .low_pass import LowPassFilter"),
        ("nodes/host/ddpm.py", "import comfy\nfrom ...ilvr import ddpm\nfrom . import schema"),
        ("tooling/in_host.py", "import nodes\nfrom tooling.hosts import ROOT"),
        ("tests/e2e/test_workflows.py", "from scripts.workflows import drawn"),
    ],
)
def test_an_arrow_that_goes_down_is_none(path, source):
    assert wrong(Path(path), source) == []


@pytest.mark.parametrize("folder", MAY)
def test_arrows_go_down(folder):
    files = {path: (ROOT / path).read_text("utf-8") for path in sources(folder)}
    found = [text for path in files for text in wrong(path, files[path])]
    assert files and found == []


def test_every_file_of_the_core_is_a_room_of_the_house():
    rooms = {path.with_suffix("").parts[1] for path in sources("ilvr")}
    assert rooms - {"__init__"} <= set(ROOMS)


def test_nothing_but_the_adapters_imports_them():
    """They are not published with the nodes."""
    outside = [
        path for path in (*sources("ilvr"), *sources("nodes")) if "adapters" not in path.parts
    ]
    found = [name for path in outside for name in imports(path, (ROOT / path).read_text("utf-8"))]
    assert outside and not [name for name in found if name.startswith("/ilvr.adapters")]
