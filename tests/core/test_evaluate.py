import csv
import errno
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ilvr import checkpoint
from ilvr.cli import main
from ilvr.disk import locked
from ilvr.evaluation import estimate
from ilvr.evaluation.features import Encoder
from ilvr.evaluation.work import decibels, seen

from .tiny import CONFIGURATIONS, model, state_dict

ROOT = Path(__file__).parents[2]
REFERENCES = ROOT / "ilvr" / "assets" / "references"
TABLES = ["results.json", "results.csv", "results.md"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(checkpoint of a tiny model of 16x16 pictures, folder of 10 references)."""
    folder = tmp_path_factory.mktemp("tiny")
    configuration = CONFIGURATIONS["unconditional"]
    checkpoint.save(state_dict(configuration), configuration, folder / "tiny.safetensors")
    (folder / "references").mkdir()
    for i, picture in enumerate(pictures(10)):
        Image.fromarray(picture).save(folder / "references" / f"{i}.png")
    return folder / "tiny.safetensors", folder / "references"


def pictures(count):
    """(count, 16, 16, 3) bytes: coarse random colours with some grain."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (count, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return (coarse + rng.integers(0, 40, (count, 16, 16, 3))).astype(np.uint8)


def command(tiny, out, *options):
    path, references = tiny
    quick = ["--features", "model", "--model", path, "--steps", 2, "--batch-size", 4]
    arguments = ["evaluate", references, "--out", out, *quick, *options]
    return [str(argument) for argument in arguments]


def run(*arguments):
    try:
        return main(list(arguments))
    except SystemExit as stop:
        return stop.code


def contents(out):
    return {name: (out / name).read_bytes() for name in TABLES}


def rows(out):
    return json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)["rows"]


def test_every_setting_has_its_row_and_every_table_its_columns(tiny, tmp_path, capsys):
    options = ["--factors", 2, 8, "--ranges", 0, 500, "--samples-per-reference", 3]
    assert run(*command(tiny, tmp_path, *options, "--real", tiny[1])) == 0
    references, unconditional, *guided = rows(tmp_path)
    assert references["setting"] == "references" and references["images"] == 10
    assert abs(references["Frechet distance"]) < 1e-3  # to themselves
    assert unconditional["Frechet distance"] > 1 and unconditional["images"] == 30
    keys = [(row["factor"], row["start"], row["end"], row["images"]) for row in guided]
    assert keys == [(n, 1000, end, 30) for end in (0, 500) for n in (2, 8)]
    for row in guided:
        assert row["evaluations per image"] == 2 and row["encoder distance"] > 0
        assert row["Frechet distance +-"] > 0
    assert guided[0]["agreement, dB"] > 90 > guided[0]["agreement in 8 bits, dB"]
    with (tmp_path / "results.csv").open() as file:
        assert [float(line["agreement, dB"] or 0) for line in csv.DictReader(file)][2:] == [
            row["agreement, dB"] for row in guided
        ]
    said = (tmp_path / "results.md").read_text()
    assert "| range | references | unconditional | N = 2 | N = 8 |" in said
    assert "encoder of the loaded U-Net" in said and "FID" not in said
    assert said in capsys.readouterr().out
    assert Image.open(tmp_path / "figure.png").width > 500
    assert json.loads((tmp_path / "times.json").read_text())[0]["seconds per image"] > 0


def test_killed_at_20_random_moments_it_repeats_nothing_and_ends_equal(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ilvr.evaluation.run"])
    options = ["--factors", 2, 4, 8, "--ranges", 0, 500, "--samples-per-reference", 3]

    def start(out):
        process = processes.Process(target=main, args=(command(tiny, out, *options),))
        process.start()
        return process

    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    whole = start(undisturbed)
    whole.join()
    assert whole.exitcode == 0
    total = len(units(undisturbed))
    rng, written, kills = random.Random(0), {}, 0
    for _ in range(20):
        process = start(out)
        until = len(written) + rng.choice([0, 0, 1, 2, 6])
        while process.is_alive() and len(units(out)) < until:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        kills += process.exitcode != 0
        now = units(out)
        assert now | written == now  # none is gone, and none was written again
        written = now
    assert kills == 20 and 5 < len(written) <= total
    last = start(out)
    last.join()
    assert last.exitcode == 0 and len(units(out)) == total
    assert units(out) | written == units(out)
    assert contents(out) == contents(undisturbed)
    assert not list(out.rglob("*.partial"))


def units(out):
    """{unit: when its result was written} of a folder."""
    files = (out / "units").rglob("*.npz")
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in files}


def test_a_full_disk_is_said_in_one_sentence_and_the_work_goes_on_later(
    tiny, tmp_path, capsys, monkeypatch
):
    options = ["--factors", 4, "--samples-per-reference", 2]
    assert run(*command(tiny, tmp_path / "a", *options)) == 0
    capsys.readouterr()
    write, left = os.fsync, [17]

    def full(file):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file)

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        assert run(*command(tiny, tmp_path / "b", *options)) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in said and "8 of 13 units are kept" in said
    assert len(units(tmp_path / "b")) == 8
    assert run(*command(tiny, tmp_path / "b", *options)) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("name", ["results.json", "results.md", "sheet.png", "units"])
def test_files_of_somebody_else_are_not_written_over(tiny, tmp_path, capsys, name):
    (tmp_path / name).write_text("mine")
    assert run(*command(tiny, tmp_path, "--factors", 4)) == 2
    assert f"holds {name} of something else" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", '"a"', "{}", '{"settings": 3}', '{"settings": {}}', '{"threads": 2}',
     '{"settings": {}, "threads": "2"}', '{"settings": {}, "threads": -1}', "[" * 100_000],
)  # fmt: skip
def test_settings_of_something_else_are_refused(tiny, tmp_path, capsys, text):
    (tmp_path / "settings.json").write_text(text)
    assert run(*command(tiny, tmp_path, "--factors", 4)) == 2
    said = capsys.readouterr().err
    assert "settings.json is damaged or of something else" in said and said.count("\n") == 1
    assert (tmp_path / "settings.json").read_text() == text


def test_a_picture_that_was_replaced_makes_another_evaluation(tiny, tmp_path, capsys):
    path, references = tiny
    own = tmp_path / "own"
    shutil.copytree(references, own)
    options = ["--factors", 4, "--metrics", "agreement", "--samples-per-reference", 1]
    for i in range(2):
        Image.fromarray(pictures(10)[i]).save(own / "0.bmp")
        assert run(*command((path, own), tmp_path / "out", *options)) == (2 if i else 0)
    assert "holds an evaluation with other settings (real: 11 pict" in capsys.readouterr().err


def test_a_second_command_into_one_folder_is_refused(tiny, tmp_path, capsys):
    with locked(tmp_path / ".ilvr-lock"):
        assert run(*command(tiny, tmp_path, "--factors", 4)) == 2
        assert "Another command is writing into" in capsys.readouterr().err
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / ".ilvr-0123456789abcdef.partial").touch()
    locked(tmp_path / ".ilvr-lock").close()
    assert not list((tmp_path / "units").iterdir())


def test_an_unreadable_reference_is_named_left_out_and_counted(tiny, tmp_path, capsys):
    path, references = tiny
    mixed = tmp_path / "mixed"
    shutil.copytree(references, mixed)
    whole = (mixed / "4.png").read_bytes()
    (mixed / "4.png").write_bytes(whole[: len(whole) // 2])
    options = ["--factors", 2, 4, "--samples-per-reference", 2]
    assert run(*command((path, mixed), tmp_path / "out", *options)) == 0
    assert f"skipped {mixed / '4.png'}: " in capsys.readouterr().err
    unconditional, *guided = rows(tmp_path / "out")
    assert [(row["images"], row["skipped"]) for row in guided] == [(18, 1), (18, 1)]
    assert unconditional["images"] == 20
    assert "left out: 1." in (tmp_path / "out" / "results.md").read_text()
    alone = [*options, "--batch-size", 1]
    assert run(*command((path, mixed), tmp_path / "alone", *alone)) == 0
    for row, same in zip(rows(tmp_path / "alone"), rows(tmp_path / "out"), strict=True):
        assert row["images"] == same["images"] and row["skipped"] == same["skipped"]
        assert row.get("encoder distance", 0) == pytest.approx(
            same.get("encoder distance", 0), 0.02
        )


def test_what_is_measured_does_not_depend_on_how_units_were_grouped_before(tiny, tmp_path):
    options = ["--factors", 4, "--samples-per-reference", 2, "--metrics", "lpips", "agreement"]
    assert run(*command(tiny, tmp_path / "ten", *options)) == 0
    assert run(*command(tiny, tmp_path / "four", *options, "--limit", 4)) == 0
    for file in ("000000-000001", "000002-000003"):
        ten, four = (np.load(tmp_path / f"{n}/units/N4-1000-0/{file}.npz") for n in ("ten", "four"))
        assert np.array_equal(ten["lpips"], four["lpips"])
        assert np.array_equal(ten["agreement"], four["agreement"])


def test_a_row_does_not_depend_on_the_others(tiny, tmp_path):
    options = ["--metrics", "fid", "--samples-per-reference", 2, "--factors"]
    assert run(*command(tiny, tmp_path / "alone", *options, 4)) == 0
    assert run(*command(tiny, tmp_path / "among", *options, 2, 8, 4)) == 0
    assert rows(tmp_path / "alone")[-1] == rows(tmp_path / "among")[-1]


def test_other_settings_in_the_same_folder_are_refused_and_named(tiny, tmp_path, capsys):
    options = ["--metrics", "agreement", "--samples-per-reference", 1]
    assert run(*command(tiny, tmp_path, "--factors", 4, *options)) == 0
    before = contents(tmp_path)
    capsys.readouterr()
    assert run(*command(tiny, tmp_path, "--factors", 8, "--seed", 3, *options)) == 2
    said = capsys.readouterr().err
    assert "factors: [4.0] there, [8.0] here; seed: 0 there, 3 here" in said
    assert said.count("\n") == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("keep, count", [("none", 0), ("sheet", 16), ("all", 40)])
def test_pictures_are_kept_as_asked(tiny, tmp_path, keep, count):
    options = ["--factors", 4, "--samples-per-reference", 2, "--metrics", "fid", "--keep", keep]
    assert run(*command(tiny, tmp_path, *options)) == 0
    assert len(list((tmp_path / "images").rglob("*.png"))) == count
    assert (tmp_path / "sheet.png").exists() == (keep != "none")


def test_every_sample_has_a_seed_of_its_own(tiny, tmp_path):
    options = ["--factors", 16, "--samples-per-reference", 2, "--metrics", "fid", "--keep", "all"]
    assert run(*command(tiny, tmp_path, *options)) == 0
    files = (tmp_path / "images" / "unconditional").glob("*.png")
    assert len({Image.open(file).tobytes() for file in files}) == 20


BAD = {
    "one sample has no pairs": ["--samples-per-reference", 1, "--metrics", "lpips"],
    "pictures too small": ["--metrics", "niqe"],
    "factor": ["--factors", 0.5],
    "range": ["--ranges", "0-1000"],
    "strength of the state": ["--strength", 0.5],
    "steps": ["--steps", 1001],
    "metric": ["--metrics", "beauty"],
    "no real pictures": ["--real", REFERENCES.parent / "nothing"],
    "a folder without pictures": ["--real", ROOT / "ilvr" / "evaluation"],
    "mask missing": ["--mask", "nothing.png"],
    "model missing": ["--model", "nothing.pt"],
    "device": ["--device", "cuda:99"],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_and_writes_nothing(tiny, tmp_path, capsys, name):
    assert run(*command(tiny, tmp_path / "out", *BAD[name])) == 2
    said = capsys.readouterr().err
    assert said.startswith("ilvr: ") and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["torchmetrics", "ilvr.evaluation"])
def test_without_the_extra_or_the_package_one_sentence_says_how_to_get_it(tiny, tmp_path, missing):
    arguments = command(tiny, tmp_path / "out")
    code = f"import sys; sys.modules[{missing!r}] = None; from ilvr.cli import main; "
    script = [sys.executable, "-c", f"{code}raise SystemExit(main({arguments!r}))"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "pip install 'ilvr[evaluate]'" in done.stderr


def test_decibels_are_those_of_each_picture():
    y = torch.zeros(2, 3, 8, 8)
    offset = torch.tensor([0.02, 0.2]).reshape(2, 1, 1, 1)
    assert decibels(y + offset, y) == pytest.approx([40, 20], abs=1e-4)
    assert seen(torch.tensor([-3.0, 0.001, 3.0])).tolist() == pytest.approx(
        [-1, 1 / 255, 1], abs=1e-6
    )


def test_the_encoder_tells_pictures_apart():
    encoder = Encoder(model(CONFIGURATIONS["unconditional"]))
    array = torch.from_numpy(pictures(3)).permute(0, 3, 1, 2) / 127.5 - 1
    assert encoder.diversity(array[:1].repeat(3, 1, 1, 1)) < 1e-6
    assert encoder.diversity(array) > 0.1
    features = encoder.features(array)
    assert features.shape == (3, 32 + 64 + 64)
    assert np.allclose(features[1:2], encoder.features(array[1:2]), atol=1e-5)


def bundled(out, *options):
    quick = ["--features", "model", "--metrics", "lpips", "agreement", "--steps", 8]
    quick += ["--model", "landscapes-64"]
    references = [REFERENCES / "render-lake.png", REFERENCES / "clip-art.png"]
    samples = ["--samples-per-reference", 4, "--keep", "none", "--out", out]
    arguments = ["evaluate", *references, *quick, *samples, *options]
    assert run(*map(str, arguments)) == 0
    return rows(out)


def test_diversity_grows_with_the_factor(tmp_path):  # Eq. 12: R_N within R_M for N <= M
    found = bundled(tmp_path, "--factors", 1, 2, 4, 8, 16)
    diversity = [row["encoder distance"] for row in found]
    for smaller, larger in zip(diversity, diversity[1:]):
        assert larger > smaller + 0.05
    assert diversity[0] < 1e-3 and found[0]["agreement, dB"] is None  # N = 1: no difference left
    assert all(row["agreement, dB"] >= 90 for row in found[1:])


def test_diversity_grows_as_the_range_shrinks(tmp_path):  # Eq. 13: R_N within R_N,(T,k)
    found = bundled(tmp_path, "--factors", 4, "--ranges", 0, 250, 500, 750)
    diversity = [row["encoder distance"] for row in found]
    for longer, shorter in zip(diversity, diversity[1:]):
        assert shorter > longer + 0.05


def test_the_estimate_is_the_seconds_measured_times_the_images(tmp_path, capsys):
    times = [{"setting": name, "seconds per image": s} for name, s in (("a", 1.0), ("b", 0.8))]
    (tmp_path / "times.json").write_text(json.dumps(times))
    kept = {"settings": {"device": "cpu"}, "threads": 2}
    (tmp_path / "settings.json").write_text(json.dumps(kept))
    assert estimate.main([str(tmp_path), "--images", "4000", "--gpus", "1", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["2.0 h", "0.2 h"]
    assert "8 processes of 2 CPU threads" in lines[1]
