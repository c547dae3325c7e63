"""A ComfyUI in this process, with the pack loaded; import it before anything of the host."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from tooling.hosts import ROOT, hosts, run_inside


def run(function, *arguments):
    """Calls one of our functions in the newest ComfyUI found, and passes on what it prints."""
    if not hosts():
        raise SystemExit("No ComfyUI was found: `make comfyui` gets one.")
    process = call(hosts()[-1], function, *arguments)
    for line in process.stdout:
        print(line, end="", flush=True)
    sys.exit(process.wait())


def call(host: Path, function, *arguments, **how) -> subprocess.Popen:
    """One of our functions in a process of the host; how: as for run_inside."""
    module, name = function.__module__, function.__name__
    module = function.__globals__["__spec__"].name if module == "__main__" else module
    code = f"import sys; sys.path.append({str(ROOT)!r}); import {module} as m; m.{name}{arguments}"
    return run_inside(host, "-c", code, **how)


def start(files: Path) -> float:
    """Starts the host whose folder this process runs in, with its models, input, output in `files`.

    Afterwards the host's modules can be imported, and ours behind them. Returns the seconds that
    the pack took to load.
    """
    for folder in ("custom_nodes", "input", "output", "models/adm", "temp"):
        (files / folder).mkdir(parents=True, exist_ok=True)
    if (host := os.getcwd()) not in sys.path:
        sys.path.insert(0, host)
    from comfy.cli_args import args

    args.cpu, args.base_directory = True, str(files)
    return asyncio.run(_load())


async def _load():
    import nodes

    await nodes.init_builtin_extra_nodes()
    begin = time.perf_counter()
    await nodes.load_custom_node(str(ROOT), module_parent="custom_nodes")
    return time.perf_counter() - begin
