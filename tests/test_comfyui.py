"""`make comfyui` where a ComfyUI is there already, and where none can be had."""

import os
import subprocess
import sys

import pytest

from tooling.hosts import ROOT

SCRIPT = ROOT / "scripts" / "comfyui.sh"
MAIN = "import sys; print('started', *sys.argv[1:])"


def run_script(**environment):
    variables = {name: str(value) for name, value in environment.items()}
    variables = {"HOME": "/nonexistent", "PATH": os.environ["PATH"], **variables}
    return subprocess.run(["/bin/bash", SCRIPT], env=variables, capture_output=True, text=True)


@pytest.fixture
def installed(tmp_path):
    """What the script looks at in a ComfyUI that is set up: main.py, custom_nodes, .venv."""
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return tmp_path


def files(folder):
    return [str(path.relative_to(folder)) for path in folder.glob("custom_nodes/*")]


def test_an_install_gets_the_link_and_starts(installed):
    for _ in range(2):
        run = run_script(COMFYUI_PATH=f"{installed}:/elsewhere", COMFYUI_ARGS="--port 8199")
        assert run.returncode == 0, run.stderr
        assert run.stdout.startswith("started") and run.stdout.endswith(" --port 8199\n")
        assert files(installed) == ["custom_nodes/ilvr"]
        assert (installed / "custom_nodes" / "ilvr").samefile(ROOT)


def test_a_pack_that_is_there_is_left(installed):
    link = installed / "custom_nodes" / "another-name"
    link.symlink_to(ROOT, target_is_directory=True)
    assert run_script(COMFYUI_PATH=installed).returncode == 0
    assert files(installed) == ["custom_nodes/another-name"]


def test_a_copy_of_the_pack_is_left(installed):
    (installed / "custom_nodes" / "ilvr").mkdir()
    assert run_script(COMFYUI_PATH=installed).returncode == 0
    assert not (installed / "custom_nodes" / "ilvr").is_symlink()


def test_a_clone_that_fails_says_what_to_do(tmp_path):
    run = run_script(COMFYUI_PATH=tmp_path / "host", COMFYUI_REPO=tmp_path / "nothing")
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith(
        f"ComfyUI could not be cloned from {tmp_path}/nothing to {tmp_path}/host"
    )
    assert "set COMFYUI_REPO to a source within reach" in last


def test_no_git_says_what_to_do(tmp_path):
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    run = run_script(COMFYUI_PATH=tmp_path / "host", PATH=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("git is needed to get ComfyUI; install it, or set COMFYUI_PATH")


def test_no_python_says_what_to_do(installed):
    (installed / ".venv").unlink()
    run = run_script(COMFYUI_PATH=installed, PYTHON="python9")
    assert run.returncode == 1
    assert run.stderr.startswith("There is no python9 to make the .venv of ComfyUI with;")
    assert not (installed / ".venv").exists()


def test_requirements_that_fail_are_installed_again(installed):
    (installed / ".venv").unlink()
    (installed / "requirements.txt").write_text("./no-such-package")
    for _ in range(2):
        run = run_script(COMFYUI_PATH=installed, PYTHON=sys.executable)
        assert run.returncode == 1
        last = run.stderr.splitlines()[-1]
        assert last.startswith("The requirements of ComfyUI could not be installed")
