"""The ComfyUIs of this machine: where they are, and how to run something in one."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOW = "`make comfyui` gets one; or set COMFYUI_PATH to a ComfyUI with a .venv"


def hosts() -> list[Path]:
    """Those in $COMFYUI_PATH, else every ComfyUI under ~/comfy."""
    if named := os.environ.get("COMFYUI_PATH"):
        return [Path(path).resolve() for path in named.split(os.pathsep) if path]
    return sorted(path.parent for path in Path.home().glob("comfy/*/main.py"))


def interpreter(host: Path) -> Path | None:
    """The Python of the host's own environment."""
    names = (host / ".venv" / name for name in ("bin/python", "Scripts/python.exe"))
    return next((python for python in names if python.exists()), None)


def each_host() -> dict:
    """Arguments of a parametrisation over the hosts; over None where there is none."""
    return {"params": hosts() or [None], "ids": lambda host: host.name if host else "none"}


def why_not(host: Path | None) -> str | None:
    """Why nothing can be run in this host."""
    if host is None:
        return f"no ComfyUI was found; {HOW}."
    if not (host / "main.py").exists():
        return f"there is no ComfyUI in {host}; {HOW}."
    if interpreter(host) is None:
        return f"{host.name} has no .venv; {HOW}."
    return None


def run_inside(
    host: Path, *arguments, output=subprocess.PIPE, **environment: str
) -> subprocess.Popen:
    """The host's Python with these arguments, in its folder and with nothing of ours on sys.path:
    our nodes/ would hide its nodes.py. Output of both kinds is in the result's stdout, or in the
    file `output`."""
    return subprocess.Popen(
        [str(part) for part in (interpreter(host), *arguments)],
        cwd=host,
        env={**os.environ, "ILVR_HOST": str(host), **environment},
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )
