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

from ilvr.cli import main
from ilvr.image import read_parameters

ROOT = Path(__file__).parents[2]
LAKE = str(ROOT / "ilvr" / "assets" / "references" / "render-lake.png")
MODEL = str(ROOT / "ilvr" / "assets" / "landscapes-64.safetensors")
QUICK = ["--model", "landscapes-64", "--count", "1", "--steps", "1"]


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
    assert b"\x1b" not in done.stdout + done.stderr and b"no font" not in done.stderr
    made = next(path for path in out.iterdir() if path.name != "sheet.png")
    assert read_parameters(made)["reference"] == str(tmp_path / name)


def refused(capsys, *arguments):
    """What a command says on its one line, which ends with status 2."""
    assert main(list(arguments)) == 2, arguments
    said = capsys.readouterr().err
    assert said.startswith("ilvr: ") and said.count("\n") == 1 and "\x1b" not in said
    return said


@pytest.mark.parametrize("name", ["n" * 300, "a/" * 3000 + "a", "\x1b[31m.png"])
def test_names_that_can_not_be(tmp_path, capsys, name):
    refused(capsys, "sample", name, "--out", str(tmp_path))
    refused(capsys, "inspect", name)
    refused(capsys, "convert", MODEL, f"{tmp_path}/{name}/a.safetensors")
    refused(capsys, "sample", LAKE, "--out", f"{LAKE}/{name}", *QUICK)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "\0"])
def test_names_that_are_none(capsys, name):
    for arguments in (["sample", name, "--out", "a"], ["sample", LAKE, "--out", name]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert f"{name!r} is no path; the name of a file or folder" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give its rights away")
def test_folders_and_files_without_permission(tmp_path, capsys):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    picture, model, closed = (tmp_path / n for n in ("a.png", "a.safetensors", "closed"))
    shutil.copy(LAKE, picture)
    shutil.copy(MODEL, model)
    for file in (picture, model):
        file.chmod(0o600)
    closed.mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        refused(capsys, "sample", str(picture), "--out", str(tmp_path / "out"))
        refused(capsys, "inspect", str(model))
        refused(capsys, "inspect", str(closed))
        refused(capsys, "sample", LAKE, "--out", str(closed), *QUICK)
        refused(capsys, "convert", MODEL, str(closed / "b.safetensors"))
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_ctrl_c_while_it_starts(tmp_path, seconds):
    process = subprocess.Popen(
        [sys.executable, "-m", "ilvr", "sample", LAKE, "--out", str(tmp_path), "--count", "500"],
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    maps = Path(f"/proc/{process.pid}/maps")
    while "site-packages" not in maps.read_text():  # the first of what is imported
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 2 and error.startswith(b"ilvr: stopped")
    assert error.count(b"\n") == 1


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_a_dead_address_of_a_cluster(tmp_path, capsys, address):
    pytest.importorskip("ray")
    pytest.importorskip("torchmetrics")
    options = ["--ray", address, "--features", "model", "--out", str(tmp_path)]
    assert "No Ray cluster was found at" in refused(capsys, "evaluate", LAKE, *options)
