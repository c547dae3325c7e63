import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ilvr import LowPassFilter, checkpoint, load_image
from ilvr.cli import main
from ilvr.image import read_parameters
from ilvr.parser import parser
from ilvr.settings import Settings, fastest_dtype

from .tiny import CONFIGURATIONS, state_dict

REFERENCES = Path(__file__).parents[2] / "ilvr" / "assets" / "references"
LAKE, CLIP_ART = str(REFERENCES / "render-lake.png"), str(REFERENCES / "clip-art.png")
MASKED, MASK = str(REFERENCES / "masked-render.png"), str(REFERENCES / "mask.png")
QUICK = ["--steps", "3"]


def run(*arguments):
    """A command, on landscapes-64 where it names no model."""
    if arguments[:1] in [("sample",), ("sweep",)] and "--model" not in arguments:
        arguments += ("--model", "landscapes-64")
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


def pixels(path):
    return np.asarray(Image.open(path), int)


def test_sample_writes_pictures_with_parameters_and_a_sheet(tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    assert run("sample", LAKE, CLIP_ART, "--out", out, "--count", 2, "--seed", 5, *QUICK) == 0
    names = ["clip-art-N8-5", "clip-art-N8-6", "render-lake-N8-5", "render-lake-N8-6", "sheet"]
    assert sorted(path.stem for path in out.iterdir()) == names
    assert capsys.readouterr().out.split() == [
        str(out / f"{name}.png") for name in [*names[2:4], *names[:2], "sheet"]
    ]
    parameters = read_parameters(out / "render-lake-N8-6.png")
    assert parameters["reference"] == LAKE
    assert parameters["dtype"] == fastest_dtype("cpu")
    assert (parameters["seed"], parameters["factor"], parameters["steps"]) == (6, 8, 3)
    assert pixels(out / "render-lake-N8-6.png").shape == (64, 64, 3)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddim", "ddpm"])
def test_reruns_are_equal_and_the_batch_size_is_no_matter(tmp_path, sampler):
    options = ["--count", 3, "--sampler", sampler, "--steps", 4, "--dtype", "float32", "--out"]
    assert run("sample", LAKE, *options, tmp_path / "a") == 0
    assert run("sample", LAKE, *options, tmp_path / "b") == 0
    assert run("sample", LAKE, *options, tmp_path / "c", "--batch-size", 2) == 0
    for i in range(3):
        a, b, c = (pixels(tmp_path / folder / f"render-lake-N8-{i}.png") for folder in "abc")
        assert np.array_equal(a, b)
        assert np.abs(a - c).max() <= 1
    assert (
        pixels(tmp_path / "a/render-lake-N8-0.png") != pixels(tmp_path / "a/render-lake-N8-1.png")
    ).any()


@pytest.mark.parametrize("start", [[], ["--start", "reference"], ["--start", "noise"]])
def test_a_picture_does_not_depend_on_the_references_beside_it(tmp_path, start):
    options = ["--count", 1, "--steps", 3, *start, "--dtype", "float32", "--out"]
    assert run("sample", LAKE, CLIP_ART, *options, tmp_path / "both") == 0
    for path, name in ((LAKE, "render-lake-N8-0.png"), (CLIP_ART, "clip-art-N8-0.png")):
        assert run("sample", path, *options, tmp_path / "alone") == 0
        a, b = (pixels(tmp_path / folder / name) for folder in ("both", "alone"))
        assert np.abs(a - b).max() <= 1


def test_where_sampling_starts_is_in_the_picture(tmp_path):
    for start, kept in (("noise", "noise"), ("reference", "reference"), ("400", 400)):
        options = ["--out", tmp_path / start, "--count", 1, "--steps", 2]
        assert run("sample", LAKE, *options, "--start", start) == 0
        assert read_parameters(tmp_path / start / "render-lake-N8-0.png")["start"] == kept


@pytest.mark.parametrize(
    "options, start",
    [
        ([], "reference"),
        (["--sampler", "ddim"], "noise"),
        (["--sampler", "ddpm"], "noise"),
        (["--released"], "noise"),
        (["--respacing", "20"], "noise"),
    ],
)
def test_the_papers_own_ways_start_from_noise(options, start):
    commands = dict.fromkeys(("sample", "sweep", "evaluate", "inspect", "convert"))
    for command in ("sample", "sweep", "evaluate"):
        parsed = parser(**commands).parse_args([command, LAKE, "--out", "o", *options])
        assert Settings.of(parsed).sampling["start"] == start


def test_a_long_sheet_wraps(tmp_path):
    assert run("sample", LAKE, "--out", tmp_path, "--count", 18, "--steps", 1) == 0
    width, height = Image.open(tmp_path / "sheet.png").size
    assert 9 * 128 < width < 12 * 128
    assert 3 * 128 < height < 4 * 128


def test_a_picture_is_never_written_over_one_of_other_parameters(tmp_path):
    for factor_range in (("1000", "0"), ("1000", "500"), ("1000", "500")):
        assert (
            run("sample", LAKE, "--out", tmp_path, "--count", 1, "--range", *factor_range, *QUICK)
            == 0
        )
    names = ["render-lake-N8-0", "render-lake-N8-0-2", "sheet", "sheet-2"]
    assert sorted(path.stem for path in tmp_path.iterdir()) == names
    assert read_parameters(tmp_path / "render-lake-N8-0-2.png")["range"] == [1000, 500]


def test_low_frequencies_follow_the_reference(tmp_path):
    assert run("sample", LAKE, "--out", tmp_path, "--count", 1, "--factor", 64, *QUICK) == 0
    mean = pixels(tmp_path / "render-lake-N64-0.png").mean((0, 1))
    assert np.abs(mean - pixels(LAKE).mean((0, 1))).max() < 1.5  # clamped and rounded to 8 bits


def test_a_masked_reference_at_factor_one_keeps_the_known_pixels(tmp_path):
    known = np.zeros((64, 64), np.uint8)
    known[:, :32] = 255
    Image.fromarray(known).save(tmp_path / "mask.png")
    out = tmp_path / "out"
    assert (
        run(
            "sample",
            LAKE,
            "--mask",
            tmp_path / "mask.png",
            "--factor",
            1,
            "--out",
            out,
            "--count",
            1,
            *QUICK,
        )
        == 0
    )
    result, reference = pixels(out / "render-lake-N1-0.png"), pixels(LAKE)
    assert np.array_equal(result[:, :32], reference[:, :32])
    assert np.abs(result[:, 32:] - reference[:, 32:]).mean() > 5


def test_a_sheet_says_noise_where_a_mask_leaves_nothing_to_start_from(tmp_path):
    sheets = {}
    for start in ("reference", "noise"):
        own = ["--mask", MASK, "--start", start, "--out", tmp_path / start, "--count", 1]
        assert run("sample", MASKED, *own, *QUICK) == 0
        sheets[start] = pixels(tmp_path / start / "sheet.png")
    assert np.array_equal(sheets["reference"], sheets["noise"])


def test_every_option_of_sampling_has_an_effect(tmp_path):
    variants = {
        "base": [],
        "factor": ["--factor", 4],
        "kernel": ["--kernel", "box"],
        "exact": ["--no-exact"],
        "guide": ["--guide", "prediction"],
        "strength": ["--guide", "prediction", "--strength", 0.5],
        "noise": ["--noise", "fixed"],
        "released": ["--released"],
        "start": ["--start", "noise"],
        "timestep": ["--start", 700],
        "steps": ["--steps", 5],
        "spacing": ["--spacing", "uniform"],
        "respacing": ["--respacing", "ddim4"],
        "sampler": ["--sampler", "ddim"],
        "eta": ["--sampler", "ddim", "--eta", 1],
        "ddpm": ["--sampler", "ddpm"],
        "variance": ["--sampler", "ddpm", "--variance", "large"],
        "clip": ["--no-clip"],
        "seed": ["--seed", 1],
        "dtype": ["--dtype", "bfloat16"],
        "set": ["--set", "noise_schedule=cosine"],
    }
    results = {}
    for name, options in variants.items():
        steps = [] if {"--steps", "--respacing"} & set(options) else ["--steps", 4]
        out = tmp_path / name
        common = ["--count", 1, "--dtype", "float32", *steps]
        assert run("sample", LAKE, "--out", out, *common, *options) == 0, name
        results[name] = pixels(next(out.glob("render-lake-*.png")))
    names = list(results)
    for i, a in enumerate(names):
        for b in names[:i]:
            assert not np.array_equal(results[a], results[b]), (a, b)


def test_sweep_draws_every_factor_and_range(tmp_path, capsys):
    options = ["--factors", 4, 16, 32, "--ranges", 0, "800-250", "--count", 2, "--out", tmp_path]
    assert run("sweep", LAKE, *options, *QUICK) == 0
    sheet = tmp_path / "sweep-render-lake.png"
    assert capsys.readouterr().out.strip() == str(sheet)
    width, height = Image.open(sheet).size
    assert width > 4 * 128 and height > 4 * 128
    assert read_parameters(sheet)["range"] == [[1000, 0], [800, 250]]


def test_class_labels(tmp_path, capsys):
    torch.save(state_dict(CONFIGURATIONS["conditional_heads"]), tmp_path / "a.pt")
    options = ["--model", tmp_path / "a.pt", "--set", "image_size=16", "--set", "num_heads=4"]
    options += ["--set", "num_head_channels=null", "--out", tmp_path / "o", "--count", 1, *QUICK]
    assert run("sample", LAKE, *options, "--class-label", 3) == 0
    said = capsys.readouterr().err
    assert "of no published layout; assumed: use_new_attention_order = False, " in said
    assert run("sample", LAKE, *options) == 2
    assert run("sample", LAKE, *options, "--class-label", 5) == 2


def test_inspect_and_convert(tmp_path, capsys):
    torch.save({"ema": state_dict(CONFIGURATIONS["unconditional"])}, tmp_path / "a.pt")
    assert run("inspect", tmp_path / "a.pt") == 0
    assert "num_res_blocks = 1  (read from the weights)" in capsys.readouterr().out
    assert (
        run(
            "convert",
            tmp_path / "a.pt",
            tmp_path / "a.safetensors",
            "--set",
            "num_head_channels=16",
        )
        == 0
    )
    assert run("inspect", tmp_path / "a.safetensors") == 0
    assert "num_head_channels = 16  (its own configuration)" in capsys.readouterr().out


BAD = {
    "missing reference": ["nothing.png"],
    "factor below 1": [LAKE, "--factor", "0.5"],
    "factor nan": [LAKE, "--factor", "nan"],
    "factor text": [LAKE, "--factor", "big"],
    "range reversed": [LAKE, "--range", "0", "1000"],
    "range outside": [LAKE, "--range", "1200", "0"],
    "no steps": [LAKE, "--steps", "0"],
    "too many steps": [LAKE, "--steps", "1001", "--sampler", "ddpm"],
    "eta": [LAKE, "--sampler", "ddim", "--eta", "2"],
    "start": [LAKE, "--start", "0"],
    "start word": [LAKE, "--start", "somewhere"],
    "start with a mask": [MASKED, "--mask", MASK, "--start", "400"],
    "steps and respacing": [LAKE, "--steps", "5", "--respacing", "5"],
    "strength of the state": [LAKE, "--strength", "0.5"],
    "label without classes": [LAKE, "--class-label", "1"],
    "no learned variance word": [LAKE, "--variance", "some"],
    "model missing": [LAKE, "--model", "nothing.pt"],
    "model a picture": [LAKE, "--model", LAKE],
    "mask of another size": [LAKE, "--mask", CLIP_ART],
    "device": [LAKE, "--device", "cuda:99"],
    "count": [LAKE, "--count", "0"],
    "seed": [LAKE, "--seed", "-1"],
    "set": [LAKE, "--set", "noise_schedule"],
    "set unknown": [LAKE, "--set", "colour=3"],
    "reference twice bad": [LAKE, str(REFERENCES / "none*.png")],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_and_writes_nothing(tmp_path, capsys, name):
    out = tmp_path / "out"
    assert run("sample", *BAD[name], "--out", out) == 2
    said = capsys.readouterr()
    assert said.err.startswith("ilvr: ") and said.err.count("\n") == 1
    assert said.out == ""
    assert not out.exists() or not any(out.iterdir())


def test_an_output_folder_that_can_not_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run("sample", LAKE, "--out", tmp_path / "file" / "out", *QUICK) == 2
    assert "can't be written to" in capsys.readouterr().err


def test_ctrl_c_keeps_the_finished_pictures(tmp_path):
    command = [
        sys.executable,
        "-m",
        "ilvr",
        "sample",
        LAKE,
        "--out",
        str(tmp_path),
        "--count",
        "500",
    ]
    options = ["--batch-size", "1", "--model", "landscapes-64", *QUICK]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        command + options,
        cwd=root,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # which a job in the background ignores, and its children with it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and len(list(tmp_path.glob("*.png"))) < 3:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert error.strip().splitlines()[-1].startswith("ilvr: stopped")
    finished = list(tmp_path.iterdir())
    assert 3 <= len(finished) < 500
    for path in finished:
        assert pixels(path).shape == (64, 64, 3)


def test_names_that_the_terminal_lacks_are_escaped(tmp_path):
    shutil.copy(LAKE, tmp_path / "湖.png")
    arguments = ["sample", tmp_path / "湖.png", "--out", tmp_path / "out", "--count", "1", *QUICK]
    arguments += ["--model", "landscapes-64"]
    done = subprocess.run(
        [sys.executable, "-m", "ilvr", *map(str, arguments)],
        env=os.environ | {"PYTHONIOENCODING": "cp1252"}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0 and rb"\u6e56-N8-0.png" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"湖-N8-0.png", "sheet.png"}


def test_folders_and_patterns_stand_for_their_pictures(tmp_path):
    for name in ("b.png", "a.png", "c.jpg"):
        (tmp_path / "refs").mkdir(exist_ok=True)
        Image.open(LAKE).save(tmp_path / "refs" / name)
    for given, stems in (("refs", "abc"), ("refs/*.png", "ab")):
        out = tmp_path / stems
        options = ["--out", out, "--count", 1, "--steps", 1]
        assert run("sample", tmp_path / given, *options) == 0
        assert {path.stem for path in out.iterdir()} == {"sheet", *(f"{x}-N8-0" for x in stems)}


def test_a_pattern_or_folder_without_pictures_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for given, why in (("*.png", "no such picture or folder"), ("empty", "holds no pictures")):
        assert run("sample", tmp_path / given, "--out", tmp_path / "out") == 2
        assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("letter", ["n", "湖"])
def test_a_name_that_is_too_long_is_shortened(tmp_path, letter):
    path = tmp_path / f"{letter * (240 // len(letter.encode()))}.png"
    shutil.copy(LAKE, path)
    for command in ("sample", "sweep"):
        options = ["--out", tmp_path / "out", "--count", 1, "--steps", 1]
        assert run(command, path, *options) == 0
    (made,) = (tmp_path / "out").glob("*-N8-0.png")
    assert read_parameters(made)["reference"] == str(path)


def test_letters_without_a_font_are_said(tmp_path, capsys):
    path = tmp_path / "a\U00012000.png"  # cuneiform: none of the fonts has it
    shutil.copy(LAKE, path)
    assert run("sample", path, "--out", tmp_path / "out", "--count", 1, "--steps", 1) == 0
    assert "no font of this machine has" in capsys.readouterr().err


def test_a_model_of_grey_pictures_follows_a_grey_reference(tmp_path):
    configuration = replace(CONFIGURATIONS["unconditional"], in_channels=1)
    checkpoint.save(state_dict(configuration), configuration, tmp_path / "grey.safetensors")
    options = ["--model", tmp_path / "grey.safetensors", "--out", tmp_path / "out", "--factor", 4]
    assert run("sample", LAKE, CLIP_ART, "--count", 1, *options, *QUICK) == 0
    made = Image.open(tmp_path / "out" / "render-lake-N4-0.png")
    assert made.mode == "L"
    made = load_image(tmp_path / "out" / "render-lake-N4-0.png", 16, channels=1)
    own, other = (load_image(path, 16, channels=1) for path in (LAKE, CLIP_ART))
    off = [(LowPassFilter(4).down(made - y)).abs().mean() for y in (own, other)]
    assert 3 * off[0] < off[1]
