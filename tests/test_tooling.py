"""Finding hosts and other people's packs."""

import os

import pytest

from tooling import hosts


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
