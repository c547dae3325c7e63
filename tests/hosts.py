"""The ComfyUIs of this machine: where they are, and how to run something in one."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOW = "set COMFYUI_PATH to a ComfyUI, or put one under ~/comfy, with a .venv"


def hosts() -> list[Path]:
    """Those in $COMFYUI_PATH, else every ComfyUI under ~/comfy."""
    if named := os.environ.get("COMFYUI_PATH"):
        return [Path(path).resolve() for path in named.split(os.pathsep) if path]
    return sorted(path.parent for path in Path.home().glob("comfy/*/main.py"))


def interpreter(host: Path) -> Path | None:
    """The Python of the host's own environment."""
    names = (host / ".venv" / name for name in ("bin/python", "Scripts/python.exe"))
    return next((python for python in names if python.exists()), None)


def run_inside(host: Path, *arguments, **environment) -> subprocess.Popen:
    """The host's Python with these arguments, in its folder and with nothing of ours on sys.path:
    our nodes/ would hide its nodes.py. Output of both kinds is in the result's stdout."""
    return subprocess.Popen(
        [str(part) for part in (interpreter(host), *arguments)],
        cwd=host,
        env={**os.environ, "ILVR_HOST": str(host), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
