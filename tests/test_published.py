"""What the registry and ComfyUI-Manager get of this repository."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tooling.hosts import ROOT

LIMIT = 30 * 10**6  # bytes
RAW = "https://raw.githubusercontent.com/ilvr-comfyui/ilvr/main"
MODULES = {
    "aiohttp", "ctypes", "ftplib", "http", "httpx", "importlib", "marshal", "multiprocessing",
    "pickle", "requests", "runpy", "shelve", "socket", "ssl", "subprocess", "urllib", "webbrowser",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "getenv", "putenv", "environ"}
PREFIXES = ("exec", "spawn", "fork", "posix_spawn")  # of os


def published() -> list[Path]:
    """The tracked files that .comfyignore leaves."""
    tracked = git("ls-files")
    ignored = set(git("ls-files", "--cached", "--ignored", "--exclude-from=.comfyignore"))
    return [ROOT / name for name in tracked if name not in ignored]


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("the list of published files, since this is no git checkout.")
    return done.stdout.splitlines()


def offences(source: str) -> list[str]:
    """Imports and calls in Python source that a published pack must not have."""
    found = []
    for item in ast.walk(ast.parse(source)):
        if isinstance(item, ast.Import):
            found += [name.name for name in item.names if name.name.split(".")[0] in MODULES]
        elif isinstance(item, ast.ImportFrom) and not item.level:
            found += [item.module] if item.module.split(".")[0] in MODULES else []
        elif isinstance(item, ast.Attribute):
            of_os = isinstance(item.value, ast.Name) and item.value.id == "os"
            bad = item.attr in CALLS or (of_os and item.attr.startswith(PREFIXES))
            found += [item.attr] if bad else []
        elif isinstance(item, ast.Name) and item.id in CALLS:
            found.append(item.id)
        elif isinstance(item, ast.Call) and ast.unparse(item.func) == "torch.load":
            safe = any(k.arg == "weights_only" and k.value.value is True for k in item.keywords)
            found += [] if safe else ["torch.load"]
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import urllib.request", "from subprocess import run", "os.environ['A']", "eval('1')",
        "model.eval()", "torch.load(path)", "torch.load(path, weights_only=False)", "os.execv(a)",
    ],
)  # fmt: skip
def test_offences_are_found(source):
    assert offences(source)


def test_nothing_published_reaches_beyond_the_pack():
    sources = [path for path in published() if path.suffix == ".py"]
    assert ROOT / "__init__.py" in sources and ROOT / "nodes" / "host" / "sampler.py" in sources
    for name in ("training", "tests", "tooling", "adapters", "evaluation"):
        assert not any(name in path.relative_to(ROOT).parts for path in sources)
    for path in sources:
        assert offences(path.read_text()) == [], path


def test_all_that_a_host_reads_is_published():
    folders = ["ilvr", "locales", "nodes", "subgraphs", "web", "example_workflows"]
    read = {
        ROOT / name for name in git("ls-files", *folders, ":!ilvr/adapters", ":!ilvr/evaluation")
    }
    assert read and read <= set(published())


def test_what_is_published_is_small():
    assert sum(path.stat().st_size for path in published()) <= LIMIT


def test_the_manager_finds_every_node():
    nodes = json.loads((ROOT / "tests" / "nodes" / "schema.json").read_text())
    assert sorted(json.loads((ROOT / "node_list.json").read_text())) == sorted(nodes)


def test_icon_and_banner_are_as_the_registry_wants_them():
    settings = (ROOT / "pyproject.toml").read_text()
    icon, banner = (
        Image.open(ROOT / file)
        for key in ("Icon", "Banner")
        for file in re.findall(rf'^{key} = "{RAW}/(.+)"$', settings, re.M)
    )
    assert icon.width == icon.height <= 400
    assert 9 * banner.width == 21 * banner.height
