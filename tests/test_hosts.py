"""Runs tests/nodes in every ComfyUI found, each in a process and interpreter of its own."""

import os

import pytest

from tooling.hosts import HOW, ROOT, each_host, run_inside, why_not


@pytest.fixture(**each_host())
def host(request):
    return request.param


@pytest.mark.skipif("ILVR_HOST" in os.environ, reason="inside a host")
def test_nodes_in(host, tmp_path):
    if reason := why_not(host):
        pytest.skip(f"the nodes: {reason}")
    if run_inside(host, "-c", "import pytest").wait():
        pytest.skip(f"the nodes: the .venv of {host.name} has no pytest; {HOW}, pytest in it.")
    options = ["-c", ROOT / "pyproject.toml", "-o", "pythonpath=", "-p", "no:cacheprovider"]
    run = run_inside(
        host, "-m", "pytest", "-q", "--tb=short", *options, ROOT / "tests" / "nodes",
        ILVR_HOST_FILES=str(tmp_path),
    )  # fmt: skip
    output, _ = run.communicate()
    print(output.splitlines()[-1] if output else "")
    assert run.returncode == 0, f"in {host.name}:\n{output[-8000:]}"
