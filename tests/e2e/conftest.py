"""One server for each ComfyUI found."""

import pytest

from tests.e2e import models
from tooling.hosts import each_host, why_not
from tooling.server import serving


@pytest.fixture(scope="session", **each_host())
def host(request):
    if reason := why_not(request.param):
        pytest.skip(f"the server: {reason}")
    return request.param


@pytest.fixture(scope="session")
def running(host, tmp_path_factory):
    with serving(host, tmp_path_factory.mktemp(host.name)) as server:
        models.write_small_model(server.files / "models")
        models.write_latent_vae(server.files / "models")
        yield server


@pytest.fixture
def server(running):
    """The server; what it logs in a test is shown where the test fails."""
    before = len(running.log())
    yield running
    print(running.log()[before:][-8000:])
