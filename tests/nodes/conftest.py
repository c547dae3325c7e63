"""Sets up the host in this process, with its files in a folder of the test, and loads the pack."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))
from tooling.in_host import start

start(Path(os.environ["ILVR_HOST_FILES"]))

import torch  # noqa: E402


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield
