"""What is written: whole, under a free name, and never over somebody else's file."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from ilvr.cli import main
from ilvr.disk import clear, locked, whole, writable_folder
from ilvr.image import read_parameters, save_png

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "ilvr" / "assets" / "landscapes-64.safetensors")
LAKE = ROOT / "ilvr" / "assets" / "references" / "render-lake.png"


def sample(out, *options):
    quick = ["--count", "2", "--steps", "1", "--model", "landscapes-64"]
    return main(["sample", str(LAKE), "--out", str(out), *quick, *map(str, options)])


def test_files_of_others_with_names_as_ours_stay(tmp_path):
    others = ["render-lake-N8-0.png.partial", ".ilvr-writable", "sheet.png.partial"]
    for name in others:
        (tmp_path / name).write_text("mine")
    assert sample(tmp_path) == 0
    assert all((tmp_path / name).read_text() == "mine" for name in others)
    assert len(list(tmp_path.iterdir())) == len(others) + 3


def test_a_picture_of_somebody_else_is_not_written_over(tmp_path):
    (tmp_path / "render-lake-N8-0.png").write_text("mine")
    (tmp_path / "render-lake-N8-1.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "sheet.png")
    assert sample(tmp_path) == 0
    assert (tmp_path / "render-lake-N8-0.png").read_text() == "mine"
    assert (tmp_path / "render-lake-N8-1.png").is_symlink()
    made = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert {"render-lake-N8-0-2.png", "render-lake-N8-1-2.png", "sheet-2.png"} < made


def test_many_at_once_in_one_folder_lose_nothing(tmp_path):
    script = "import sys; from ilvr.cli import main; raise SystemExit(main(sys.argv[1:]))"
    options = ["--out", str(tmp_path), "--count", "6", "--steps", "1", "--batch-size", "1"]
    options += ["--model", "landscapes-64"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, "sample", str(LAKE), *options, "--range", "1000", end],
            cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for end in ("0", "300", "600")
    ]  # fmt: skip
    assert [process.wait() for process in running] == [0, 0, 0]
    made = [read_parameters(path) for path in tmp_path.iterdir()]
    ends = {(tuple(p["range"]), p["seed"]) for p in made if "seed" in p}
    assert len(ends) == 18 and len(made) == 21


def test_a_name_is_claimed_once(tmp_path):
    with whole(tmp_path / "a", replace=False) as first:
        first.write_text("first")
        with whole(tmp_path / "a", replace=False) as second:
            assert first != second
            second.write_text("second")
        assert (tmp_path / "a").read_text() == "second"
        with pytest.raises(FileExistsError), whole(tmp_path / "a", replace=False) as third:
            third.write_text("third")
        (tmp_path / "a").unlink()
    assert (tmp_path / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_written_has_the_usual_permissions(tmp_path):
    save_png(Image.new("L", (2, 2)), tmp_path / "a.png", {})
    (tmp_path / "b").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_long_name_leaves_room_for_what_is_written_first(tmp_path):
    path = tmp_path / ("n" * 255)
    with whole(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"


def test_a_folder_is_tried_without_a_trace(tmp_path):
    (tmp_path / ".ilvr-writable").write_text("mine")
    assert writable_folder(tmp_path) == tmp_path
    assert (tmp_path / ".ilvr-writable").read_text() == "mine"


def writing(path, started):
    with whole(path) as partial:
        partial.write_text("half")
        started.set()
        time.sleep(600)


def test_what_a_killed_process_left_is_cleared_and_nothing_else(tmp_path):
    processes = multiprocessing.get_context("fork")
    running = []
    for name in ("dead", "alive"):
        started = processes.Event()
        running.append(processes.Process(target=writing, args=(tmp_path / name, started)))
        running[-1].start()
        started.wait()
        left = set(tmp_path.iterdir())
        if name == "dead":
            running[0].kill()
            running[0].join()
            (dead,) = left
    mine = [tmp_path / ".ilvr-notes.partial", tmp_path / ".ilvr-0123456789abcdef.partial.txt"]
    for path in mine:
        path.write_text("mine")
    (tmp_path / ".ilvr-0123456789abcdef.partial").symlink_to(mine[0])
    before = set(tmp_path.iterdir())
    clear(tmp_path)
    assert set(tmp_path.iterdir()) == before - {dead} and len(before) == 5
    running[1].kill()
    running[1].join()
    (tmp_path / "below").mkdir()
    (left - {dead}).pop().rename(tmp_path / "below" / dead.name)
    locked(tmp_path / "lock").close()
    assert not any((tmp_path / "below").iterdir())


def test_sample_and_convert_clear_what_was_left(tmp_path):
    left = tmp_path / ".ilvr-0123456789abcdef.partial"
    left.touch()
    assert sample(tmp_path) == 0 and not left.exists()
    left.touch()
    assert main(["convert", MODEL, str(tmp_path / "a.safetensors")]) == 0 and not left.exists()
