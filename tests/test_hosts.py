"""Runs tests/nodes in every ComfyUI found, each in a process and interpreter of its own."""

import os

import pytest

from tests.hosts import HOW, ROOT, hosts, interpreter, run_inside


@pytest.mark.skipif("ILVR_HOST" in os.environ, reason="inside a host")
@pytest.mark.parametrize("host", hosts() or [None], ids=lambda host: host.name if host else "none")
def test_nodes_in(host, tmp_path):
    if host is None:
        pytest.skip(f"the nodes, since no ComfyUI was found; {HOW} that has pytest.")
    if interpreter(host) is None:
        pytest.skip(f"the nodes in {host.name}, which has no .venv; {HOW} that has pytest.")
    if run_inside(host, "-c", "import pytest").wait():
        pytest.skip(f"the nodes in {host.name}, whose .venv has no pytest; {HOW} that has pytest.")
    options = ["-c", ROOT / "pyproject.toml", "-o", "pythonpath=", "-p", "no:cacheprovider"]
    run = run_inside(
        host, "-m", "pytest", "-q", "--tb=short", *options, ROOT / "tests" / "nodes",
        ILVR_HOST_FILES=str(tmp_path),
    )  # fmt: skip
    output, _ = run.communicate()
    print(output.splitlines()[-1] if output else "")
    assert run.returncode == 0, f"in {host.name}:\n{output[-8000:]}"
