"""Runs tests/nodes in every ComfyUI found, each in a process and interpreter of its own."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOW = "set COMFYUI_PATH to a ComfyUI, or put one under ~/comfy, with a .venv that has pytest"


def hosts() -> list[Path]:
    """Those in $COMFYUI_PATH, else every ComfyUI under ~/comfy."""
    if named := os.environ.get("COMFYUI_PATH"):
        return [Path(path).resolve() for path in named.split(os.pathsep) if path]
    return sorted(path.parent for path in Path.home().glob("comfy/*/main.py"))


def interpreter(host: Path) -> Path:
    for name in ("bin/python", "Scripts/python.exe"):
        if (python := host / ".venv" / name).exists():
            return python
    pytest.skip(f"the nodes in {host.name}, which has no .venv; {HOW}.")


@pytest.mark.skipif("ILVR_HOST" in os.environ, reason="inside a host")
@pytest.mark.parametrize("host", hosts() or [None], ids=lambda host: host.name if host else "none")
def test_nodes_in(host, tmp_path):
    if host is None:
        pytest.skip(f"the nodes, since no ComfyUI was found; {HOW}.")
    python = interpreter(host)
    if subprocess.run([python, "-c", "import pytest"], capture_output=True).returncode:
        pytest.skip(f"the nodes in {host.name}, whose .venv has no pytest; {HOW}.")
    # In the host's folder, with nothing of ours on sys.path: our nodes/ would hide its nodes.py.
    options = ["-c", str(ROOT / "pyproject.toml"), "-o", "pythonpath=", "-p", "no:cacheprovider"]
    environment = os.environ | {"ILVR_HOST": str(host), "ILVR_HOST_FILES": str(tmp_path)}
    run = subprocess.run(
        [python, "-m", "pytest", "-q", "--tb=short", *options, str(ROOT / "tests" / "nodes")],
        cwd=host, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    print(run.stdout.splitlines()[-1] if run.stdout else "")
    assert run.returncode == 0, f"in {host.name}:\n{run.stdout[-8000:]}"
