"""Damaged files for the three readers: each is read, or refused in one sentence.

python -m tooling.fuzz --minutes 30 [--seed 1] [--jobs 2]

Checkpoints, pictures and configurations are made of those in tests/data/fuzz and read in children
with limits of time and memory, so that a hang or a death is a finding as any other exception is.
The file of a finding is kept in tests/data/fuzz/found, which `make test` reads again.
"""

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ilvr import load, load_image, load_mask
from ilvr.checkpoint import recognise
from ilvr.image import read_parameters
from ilvr.settings import overrides
from ilvr.values import parsed

from .damage import damaged
from .hosts import ROOT

CORPUS = ROOT / "tests" / "data" / "fuzz"
BATCH = 100  # files a child
SECONDS, MEMORY = 20, 1 << 30  # of processor time a file, of memory a child has more
SILENCE = 600  # seconds without a word, of a child that waits for something
SENTENCE = 1000  # letters
PARTS = {  # of diffusers' folder, by the names of their seeds
    "unet": "unet/config.json",
    "scheduler": "scheduler/scheduler_config.json",
    "index": "model_index.json",
}
TINY = {"norm_groups": 1, "num_head_channels": None, "image_size": 4, "learn_sigma": False}


def read(path: Path):
    """What the readers do with a file, which they choose by its name. Raises what they raise."""
    if path.suffix in (".pt", ".safetensors"):
        model = load(path, overrides=TINY if path.suffix == ".pt" else None)
        size = model.configuration.size_step
        if size <= 64:
            model.denoiser(0 if model.configuration.num_classes else None)(
                torch.zeros(1, model.configuration.in_channels, size, size), 500
            )
    elif path.suffix == ".json":
        _read_configuration(path)
    else:
        read_parameters(path)
        load_image(path, 16)
        load_mask(path, 16, path)


def _read_configuration(path):
    text = path.read_bytes().decode(errors="replace")
    state = load_file(CORPUS / "model.safetensors")
    own = path.stem.split("-")[0]
    if own in PARTS:
        folder = path.parent / f"{path.stem}.folder"
        weights = CORPUS / "diffusers.safetensors"
        sources = {place: CORPUS / f"{name}.json" for name, place in PARTS.items()}
        sources |= {PARTS[own]: path, "unet/diffusion_pytorch_model.safetensors": weights}
        for place, source in sources.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(source.read_bytes())
        load(folder)
        return
    file = path.with_suffix(".safetensors")
    save_file(state, file, {"config": text})
    for field in ("num_heads", "channel_mult", "noise_schedule", "beta_range", text[:20]):
        _refused_or_read(lambda field=field: recognise(state, None, overrides([f"{field}={text}"])))
    with contextlib.suppress(ValueError):  # which whoever parses says in words of its own
        metadata = parsed(text)
        _refused_or_read(lambda: recognise(state, metadata))
    load(file)


def _refused_or_read(use):
    try:
        use()
    except ValueError as error:
        if why := fault(error):
            raise AssertionError(why) from None


def fault(error: BaseException) -> str:
    """What is wrong with an exception; nothing where it is one sentence of ours."""
    said = str(error)
    if not isinstance(error, ValueError) or isinstance(error, UnicodeError):
        return f"{type(error).__name__}: {said[:300]!r}"
    if not said.isprintable() or not 20 < len(said) <= SENTENCE or said[-1] not in ".)":
        return f"no sentence: {said[:300]!r}"
    return ""


def check(path: Path) -> str:
    """What is wrong with how a file is read; nothing where all is well."""
    try:
        read(path)
    except Exception as error:
        return fault(error)
    return ""


def seeds() -> list[Path]:
    """The whole files, and those found before."""
    return sorted(path for path in CORPUS.rglob("*") if path.is_file())


def made(seed: int, index: int, files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """(name, content) of a damaged file, the same for the same numbers."""
    rng = random.Random(f"{seed} {index}")
    name, content = rng.choice(files)
    same = [other for own, other in files if Path(own).suffix == Path(name).suffix]
    return name, damaged(content, same, rng)


def _child(connection, seed, first, files):
    """Reads one file after the other, and says which before and what was wrong after."""
    used = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, used + MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(first, _end(first)):
            name, content = made(seed, index, files)
            path = Path(folder) / f"{Path(name).stem}-{index}{Path(name).suffix}"
            path.write_bytes(content)
            connection.send((index, None))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            why = check(path)
            signal.setitimer(signal.ITIMER_PROF, 0)
            if why:
                connection.send((index, why))
    connection.send((None, None))


def _end(first):
    """Of the batch that a file is in."""
    return (first // BATCH + 1) * BATCH


def fuzz(seed: int, jobs: int, until, count: int = sys.maxsize) -> Iterator[tuple[int, str]]:
    """(number of files tried, "") after each batch, and (index, why) of each finding.

    until: a time of `time.monotonic`; count: files at most, in whole batches.
    """
    files = [(path.name, path.read_bytes()) for path in seeds()]
    processes, running, tried = multiprocessing.get_context("fork"), {}, 0
    waiting, left = iter(range(0, count, BATCH)), []  # left: behind a file that ended its child
    while True:
        while len(running) < jobs and time.monotonic() < until:
            first = left.pop() if left else next(waiting, None)
            if first is None:
                break
            here, there = processes.Pipe(False)
            child = processes.Process(target=_child, args=(there, seed, first, files))
            child.start()
            there.close()
            running[here] = [child, first, time.monotonic()]
        if not running:
            return
        for here in wait(list(running), timeout=1):
            child, index, _ = running[here]
            try:
                new, why = here.recv()
            except EOFError:  # it has ended, in the middle of a file if it did not say so
                child.join()
                del running[here]
                if index is not None:
                    left += [index + 1] if index + 1 < _end(index) else []
                    yield index, f"the reader ended with {_ending(child.exitcode)}"
                continue
            running[here][1:] = new, time.monotonic()
            if why:
                yield new, why
            elif new is None:
                yield tried, ""
            else:
                tried += 1
        for child, _, last in list(running.values()):
            if time.monotonic() - last > SILENCE:
                child.kill()


def _ending(code):
    names = {-signal.SIGPROF: f"more than {SECONDS} s of work", -signal.SIGKILL: "silence"}
    return names.get(code, f"status {code}")


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=None, help="[another one each time]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    seed = int(time.time()) if options.seed is None else options.seed
    files = [(path.name, path.read_bytes()) for path in seeds()]
    tried, found, start = 0, 0, time.monotonic()
    for number, why in fuzz(seed, options.jobs, start + 60 * options.minutes):
        if why:
            found += 1
            name, content = made(seed, number, files)
            kept = CORPUS / "found" / _name(name, content)
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(content)
            print(f"{kept.relative_to(ROOT)}: {why}", flush=True)
        else:
            tried = number
    minutes = (time.monotonic() - start) / 60
    print(f"{tried} files of seed {seed} in {minutes:.1f} minutes: {found} findings")
    return 1 if found else 0


def _name(name, content):
    """Under which a finding is kept: its seed's, and what it holds."""
    stem = Path(name).stem.split("-")[0]
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}{Path(name).suffix}"


if __name__ == "__main__":
    raise SystemExit(main())
