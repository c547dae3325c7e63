"""The fuzzer: files are read or refused in one sentence, and it finds what is not."""

import json
import random
import shutil
import sys
import time
from pathlib import Path

import pytest

from tooling import fuzz
from tooling.damage import VALUES, damaged

linux = pytest.mark.skipif(sys.platform != "linux", reason="the fuzzer's limits are those of Linux")


@pytest.mark.parametrize("path", fuzz.seeds(), ids=lambda path: path.name)
def test_each_kept_file_is_read_or_refused_in_one_sentence(tmp_path, path):
    assert fuzz.check(copied(path, tmp_path)) == ""


def copied(path, folder):
    return Path(shutil.copy(path, folder))


def test_whole_models_and_pictures_are_read(tmp_path):
    for name in ("model.safetensors", "training.pt", "old.pt", "packed.pt", "colour.jpg"):
        fuzz.read(copied(fuzz.CORPUS / name, tmp_path))
    with pytest.raises(ValueError, match="does not fit the architecture"):
        fuzz.read(copied(fuzz.CORPUS / "unet.json", tmp_path))


@linux
def test_a_few_hundred_damaged_files_are_read_or_refused_in_one_sentence():
    results = list(fuzz.fuzz(seed=0, jobs=1, until=time.monotonic() + 600, count=300))
    assert results == [(100, ""), (200, ""), (300, "")]


@linux
@pytest.mark.parametrize(
    "bad, why",
    [
        (lambda path: 1 / 0, "ZeroDivisionError"),
        (lambda path: Path("\n").stat(), "FileNotFoundError"),
        (lambda path: int("many words that are no number"), "no sentence"),
        (lambda path: bytearray(3 << 30), "MemoryError"),
        (lambda path: fuzz.signal.raise_signal(fuzz.signal.SIGUSR1), "status -10"),
        (lambda path: [0 for _ in iter(int, 1)], "more than 1 s of work"),
    ],
)
def test_what_is_no_sentence_is_found(monkeypatch, bad, why):
    monkeypatch.setattr(fuzz, "read", bad)
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    monkeypatch.setattr(fuzz, "BATCH", 2)
    found = list(fuzz.fuzz(seed=0, jobs=1, until=time.monotonic() + 600, count=2))
    assert [index for index, said in found if why in said] == [0, 1]


def test_damage_of_one_file_does_not_reach_the_next():
    content = b'{"betas": [0.1, 0.2], "parts": {"unet": [1]}}'
    values, alone = str(VALUES), damaged(content, [content], random.Random(7))
    for seed in range(2000):
        damaged(content, [content], random.Random(seed))
    assert damaged(content, [content], random.Random(7)) == alone
    assert str(VALUES) == values


def test_damage_is_the_same_for_the_same_numbers_and_of_many_kinds():
    files = [(path.name, path.read_bytes()) for path in fuzz.seeds()]
    some = [fuzz.made(3, i, files) for i in range(300)]
    assert some == [fuzz.made(3, i, files) for i in range(300)]
    assert len({content for _, content in some}) > 280
    assert {name.rpartition(".")[2] for name, _ in some} >= {"pt", "safetensors", "json", "png"}


def test_values_of_json_are_replaced():
    rng = fuzz.random.Random(0)
    content = json.dumps({"a": [1, 2], "b": {"c": "d"}}).encode()
    made = {damaged(content, [content], rng) for _ in range(100)}
    assert any(b"beta" not in m and m.startswith(b'{"a": ') for m in made) and len(made) > 60
