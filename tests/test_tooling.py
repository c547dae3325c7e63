"""Finding hosts and other people's packs; running tests in a host."""

import os
import sys

import pytest

from tooling import hosts
from tooling.host_tests import TESTS, HostTests


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, with nothing named in the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # on Windows
    for variable in ("COMFYUI_PATH", "COMFYUI_PACKS"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def folders(parent, *names):
    for name in names:
        (parent / name).mkdir(parents=True)
    return [parent / name for name in names]


def test_hosts_are_found_at_home_or_where_they_are_named(home, monkeypatch):
    first, second, _ = folders(home / "comfy", "A", "B", "no-host")
    for host in (first, second):
        (host / "main.py").touch()
    assert hosts.hosts() == [first, second]
    monkeypatch.setenv("COMFYUI_PATH", os.pathsep.join(map(str, (second, home))))
    assert hosts.hosts() == [second, home]


def test_packs_are_found_at_home_or_where_they_are_named(home, monkeypatch):
    assert hosts.packs() == []
    first, second = folders(home / "comfy-packs", "Detailer", "tiles")
    (home / "comfy-packs" / "notes.txt").touch()
    assert hosts.packs() == [first, second] and hosts.pack("TILES") == second
    monkeypatch.setenv("COMFYUI_PACKS", str(first))
    assert hosts.packs() == [first] and hosts.pack("tiles") is None


def test_why_nothing_can_be_run(home, monkeypatch):
    assert hosts.why_not(None).startswith("no ComfyUI was found; `make comfyui` gets one;")
    assert hosts.why_not(home).startswith(f"there is no ComfyUI in {home};")
    (home / "main.py").touch()
    assert hosts.why_not(home).startswith(f"{home.name} has no .venv;")
    assert hosts.why_no_pack("tiles").startswith("the pack tiles was not found; clone it into")
    monkeypatch.setenv("COMFYUI_PACKS", str(home / "tiles"))
    assert hosts.why_no_pack("tiles").startswith(f"there is no pack in {home / 'tiles'};")
    folders(home, "tiles")
    assert hosts.why_no_pack("tiles") is None


@pytest.fixture
def in_host(tmp_path):
    """Starts tests in what is a host from outside: a main.py and a .venv, ours."""
    (host,) = folders(tmp_path, "host")
    (host / "main.py").touch()
    (host / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    started = []

    def start(tests):
        started.append(HostTests(host, tests))
        return started[-1]

    yield start
    for tests in started:
        tests.end()


OUTCOMES = """
import os, pytest
def test_good(): pass
def test_left_out(): os._exit(1)
@pytest.mark.parametrize("path", ["a/b::c"])
def test_bad(path):
    print("said")
    assert path == "d", "why it is bad"
@pytest.fixture
def broken():
    yield
    raise ValueError("late")
def test_late(broken): pass
@pytest.mark.skip("not here")
def test_skipped(): pass
def test_fine(): pass
def test_ends(): os._exit(3)
def test_after(): pass
"""


def test_each_test_in_a_host_has_a_result_of_its_own(in_host, tmp_path):
    (tmp_path / "test_file.py").write_text(OUTCOMES)
    tests = in_host(tmp_path)
    names = [name.removeprefix("test_file.py::test_") for name in tests.names]
    assert names == ["good", "left_out", "bad[a/b::c]", "late", "skipped", "fine", "ends", "after"]
    assert tests.skipped is None and tests.failure is None
    chosen = [name for name in tests.names if "left_out" not in name]
    results = [tests.result(name, chosen) for name in chosen]
    good, bad, late, skipped, fine, ends, after = results
    assert good == fine == ("passed", "") and skipped == ("skipped", "not here")
    assert bad[0] == "failed" and "why it is bad" in bad[1] and "said" in bad[1]
    assert late[0] == "failed" and "ValueError: late" in late[1]
    assert ends[0] == "failed" and ends[1].startswith("the process of host ended with 3")
    assert after == ("skipped", "the process of host ended before")


def test_a_host_that_does_not_start_says_why(in_host):
    tests = in_host(TESTS)
    assert tests.names == [] and tests.skipped is None
    why = "host does not start: ModuleNotFoundError: No module named 'comfy'\n"
    assert tests.failure.startswith(why) and len(tests.failure) > len(why)


def test_a_file_that_can_not_be_imported_is_a_host_that_does_not_start(in_host, tmp_path):
    (tmp_path / "test_good.py").write_text("def test_good(): pass")
    (tmp_path / "test_bad.py").write_text("import no_such_package")
    tests = in_host(tmp_path)
    assert tests.names == []
    assert tests.failure.startswith("host does not start: ModuleNotFoundError: No module named")


def test_no_tests_at_all_are_a_failure(in_host, tmp_path):
    tests = in_host(tmp_path)
    assert tests.names == []
    assert tests.failure.startswith("host does not start: its process ended with 5")


def test_a_host_without_pytest_is_skipped(in_host, tmp_path, monkeypatch):
    (tmp_path / "pytest.py").write_text("raise ModuleNotFoundError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tests = in_host(tmp_path)
    assert tests.names == [] and tests.failure is None
    assert tests.skipped.startswith("the .venv of host has no pytest; `make comfyui` gets one;")


def test_no_host_is_skipped():
    tests = HostTests(None)
    assert tests.names == [] and tests.failure is None
    assert tests.skipped.startswith("no ComfyUI was found;")
    tests.end()
