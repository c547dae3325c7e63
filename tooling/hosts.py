"""The ComfyUIs of this machine, and other people's packs for them: where they are, and how to run
something in a host."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOW = "`make comfyui` gets one; or set COMFYUI_PATH to a ComfyUI with a .venv"
HOW_PACKS = "clone it into ~/comfy-packs, or name its folder in COMFYUI_PACKS"


def hosts() -> list[Path]:
    """Those in $COMFYUI_PATH, else every ComfyUI under ~/comfy."""
    return _named("COMFYUI_PATH") or sorted(
        path.parent for path in Path.home().glob("comfy/*/main.py")
    )


def packs() -> list[Path]:
    """Those of other people in $COMFYUI_PACKS, else every folder under ~/comfy-packs."""
    return _named("COMFYUI_PACKS") or sorted(
        path for path in Path.home().glob("comfy-packs/*") if path.is_dir()
    )


def _named(variable):
    paths = os.environ.get(variable, "").split(os.pathsep)
    return [Path(path).resolve() for path in paths if path]


def pack(name: str) -> Path | None:
    """The pack whose folder has this name, in whatever case."""
    return next((path for path in packs() if path.name.lower() == name.lower()), None)


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


def why_no_pack(name: str) -> str | None:
    """Why nothing can be run with this pack."""
    path = pack(name)
    if path is None:
        return f"the pack {name} was not found; {HOW_PACKS}."
    return None if path.is_dir() else f"there is no pack in {path}; {HOW_PACKS}."


def run_inside(
    host: Path,
    *arguments,
    input=None,
    output=subprocess.PIPE,
    errors=subprocess.STDOUT,
    **environment: str,
) -> subprocess.Popen:
    """The host's Python with these arguments, in its folder and with nothing of ours on sys.path:
    our nodes/ would hide its nodes.py. Output of both kinds is in the result's stdout, or in the
    files `output` and `errors`."""
    return subprocess.Popen(
        [str(part) for part in (interpreter(host), *arguments)],
        cwd=host,
        env={**os.environ, "ILVR_HOST": str(host), **environment},
        stdin=input,
        stdout=output,
        stderr=errors,
        text=True,
    )
