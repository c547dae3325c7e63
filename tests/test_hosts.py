"""tests/nodes in every ComfyUI found, each in a process and interpreter of its own.

Every test in there is one here, by its name: `pytest tests/test_hosts.py -k NAME`.
"""

import warnings

import pytest

from tooling.host_tests import HostTests
from tooling.hosts import hosts


def pytest_generate_tests(metafunc):
    """A test for each one of a host; one that says why, for a host that has none."""
    found = [HostTests(host) for host in hosts() or [None]]
    cases = []
    for tests in found:
        metafunc.config.add_cleanup(tests.end)
        label = tests.host.name if tests.host else "none"
        cases += [
            pytest.param(tests, name, id=f"{label}-{name}") for name in tests.names or ["starts"]
        ]
        if tests.failure:  # said also where -k leaves that test out
            warnings.warn(tests.failure.splitlines()[0], stacklevel=1)
    metafunc.parametrize("tests, name", cases)


def test_nodes(tests, name, request):
    if tests.skipped:
        pytest.skip(f"the nodes: {tests.skipped}")
    if not tests.names:
        pytest.fail(tests.failure, pytrace=False)
    outcome, why = tests.result(name, chosen(tests, request))
    if outcome == "skipped":
        pytest.skip(why)
    if outcome == "failed":
        pytest.fail(why, pytrace=False)


def chosen(tests, request):
    """The names of this host's tests that are in this run."""
    here = [item for item in request.session.items if item.parent is request.node.parent]
    given = [item.callspec.params for item in here]
    return [of["name"] for of in given if of["tests"] is tests]
