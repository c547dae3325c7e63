"""Sets up the host in this process, with its files in a folder of the test, and loads the pack."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import pytest

FILES = Path(os.environ.get("ILVR_HOST_FILES") or tempfile.mkdtemp())
PACK = Path(__file__).parents[2]
for folder in ("custom_nodes", "input", "output", "models/adm", "temp"):
    (FILES / folder).mkdir(parents=True, exist_ok=True)

sys.argv = sys.argv[:1]  # the host reads them
from comfy.cli_args import args  # noqa: E402

args.cpu, args.base_directory = True, str(FILES)

import torch  # noqa: E402

import nodes  # noqa: E402


async def _load():
    await nodes.init_builtin_extra_nodes()
    await nodes.load_custom_node(str(PACK), module_parent="custom_nodes")


asyncio.run(_load())


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield
