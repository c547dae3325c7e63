"""The command line with streams that are closed or full, names that are no text, and Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from ilvr.image import read_parameters

ROOT = Path(__file__).parents[2]
LAKE = str(ROOT / "ilvr" / "assets" / "references" / "render-lake.png")
MODEL = str(ROOT / "ilvr" / "assets" / "landscapes-64.safetensors")
QUICK = ["--count", "1", "--steps", "1"]


def shell(line, *arguments, **options):
    """Runs a line of the shell, in which "$@" is `python -m ilvr` and the arguments."""
    command = ["sh", "-c", line, "sh", sys.executable, "-m", "ilvr", *map(os.fsencode, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=600, **options)


@pytest.mark.parametrize(
    "line, code, said",
    [
        ('"$@" > /dev/full', 2, b"ilvr: the output failed: No space left on device.\n"),
        ('"$@" >&-', 0, b""),
        ('"$@" 2>&-', 0, b""),
        ('"$@" 2> /dev/full', 0, b""),
        ('"$@" > /dev/full 2> /dev/full', 2, b""),
        ('"$@" | true', 0, b""),
    ],
)
def test_streams_that_take_nothing(line, code, said):
    done = shell(line, "inspect", MODEL)
    assert (done.returncode, done.stderr) == (code, said)


def test_pictures_are_made_where_nobody_reads_their_names(tmp_path):
    assert shell('"$@" >&- 2>&-', "sample", LAKE, "--out", str(tmp_path), *QUICK).returncode == 0
    made = sorted(tmp_path.iterdir())
    assert [path.name for path in made] == ["render-lake-N8-0.png", "sheet.png"]
    assert all(Image.open(path).width for path in made)


def test_names_that_are_no_text(tmp_path):
    name = os.fsdecode(b"caf\xe9\x1b[31m\n.png")
    shutil.copy(LAKE, tmp_path / name)
    out = tmp_path / "out"
    done = shell('"$@"', "sample", str(tmp_path / name), "--out", str(out), *QUICK)
    assert done.returncode == 0 and done.stdout.count(b"\n") == 2
    assert b"\x1b" not in done.stdout + done.stderr
    made = next(path for path in out.iterdir() if path.name != "sheet.png")
    assert read_parameters(made)["reference"] == str(tmp_path / name)


@pytest.mark.parametrize("name", ["n" * 300, "a/" * 3000 + "a", "\x1b[31m.png"])
def test_names_that_can_not_be(tmp_path, name):
    for arguments in (
        ["sample", name, "--out", str(tmp_path)],
        ["inspect", name],
        ["convert", MODEL, f"{tmp_path}/{name}/a.safetensors"],
        ["sample", LAKE, "--out", f"{tmp_path}/{LAKE}/{name}", *QUICK],
    )[: 4 if name[0] == "n" else 2]:
        done = shell('"$@"', *arguments)
        assert done.returncode == 2 and done.stderr.startswith(b"ilvr: ")
        assert done.stderr.count(b"\n") == 1 and b"\x1b" not in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give its rights away")
def test_folders_and_files_without_permission(tmp_path):
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    for name in ("a.png", "a.safetensors"):
        shutil.copy(LAKE if name == "a.png" else MODEL, tmp_path / name)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "closed").mkdir(mode=0o700)
    for arguments in (
        ["sample", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")],
        ["inspect", str(tmp_path / "a.safetensors")],
        ["inspect", str(tmp_path / "closed")],
        ["sample", str(tmp_path / "closed"), "--out", str(tmp_path / "out")],
        ["sample", LAKE, "--out", str(tmp_path / "closed"), *QUICK],
        ["convert", MODEL, str(tmp_path / "closed" / "b.safetensors")],
    ):
        done = shell('"$@"', *arguments, **nobody)
        assert done.returncode == 2, (arguments, done)
        assert done.stderr.startswith(b"ilvr: ") and done.stderr.count(b"\n") == 1, done.stderr


@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.2])
def test_ctrl_c_while_it_starts(tmp_path, seconds):
    process = subprocess.Popen(
        [sys.executable, "-m", "ilvr", "sample", LAKE, "--out", str(tmp_path), "--count", "500"],
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    maps = Path(f"/proc/{process.pid}/maps")
    while "libpython" not in (text := maps.read_text()) and "site-packages" not in text:
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 2 and error.startswith(b"ilvr: stopped")
    assert error.count(b"\n") == 1


def test_a_dead_address_of_a_cluster(tmp_path):
    pytest.importorskip("ray")
    pytest.importorskip("torchmetrics")
    options = ["--ray", "127.0.0.1:1", "--features", "model", "--out", str(tmp_path)]
    done = shell('"$@"', "evaluate", LAKE, *options)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith(b"ilvr: No Ray cluster")
    assert b"Traceback" not in done.stderr
