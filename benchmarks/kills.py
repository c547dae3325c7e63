"""Commands that are killed, whose disk is full, or that write into one folder at once.

python -m benchmarks.kills [--times 20]

`sample` and `evaluate` of a tiny model: killed at a random moment and begun again; on a disk
that is full at a random size, which has to be said in a sentence, and begun again with room
(mounting it needs root); two and four into one folder at once. What is there must be whole and
what an undisturbed run writes, at any time; what was said to be written must be there.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.load import write_small_model
from ilvr.cli import main as ilvr
from ilvr.image import open_image, read_parameters

SAMPLE = ["--count", "4", "--steps", "2", "--batch-size", "4"]
EVALUATE = ["--features", "model", "--steps", "2", "--batch-size", "4", "--keep", "all",
            "--samples-per-reference", "2", "--factors", "2", "8"]  # fmt: skip
TABLES = ["results.json", "results.csv", "results.md"]
PAGE = 4096  # of a disk in memory
BUSY = "Another command is writing into"


class Command:
    """One of ours in its own process, as the command line runs it, with what it says."""

    processes = multiprocessing.get_context("forkserver")

    def __init__(self, arguments, said):
        self.said, self.error = Path(f"{said}.out"), Path(f"{said}.err")
        for file in (self.said, self.error):
            file.touch()
        self.process = self.processes.Process(target=_run, args=(arguments, self.said, self.error))
        self.process.start()

    def ended(self, seconds=None):
        """Its status, and what it said on stderr. Killed after so many seconds, if given."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        return self.process.exitcode, self.error.read_text()

    def names(self):
        """The files that it said were written."""
        return [Path(line) for line in self.said.read_text().splitlines()]


def _run(arguments, said, error):
    torch.set_num_threads(1)
    sys.stdout, sys.stderr = said.open("w", 1), error.open("w", 1)
    sys.exit(ilvr(arguments))


class Trial:
    """A command into folders of its own, beside an undisturbed run of it."""

    def __init__(self, name, folder, model, references, options):
        self.name, self.folder = name, folder / name
        self.arguments = [name, str(references), "--model", str(model), *options]
        self.count, self.rng = itertools.count(), random.Random(0)
        (self.folder / "said").mkdir(parents=True)
        self.finish(self.folder / "first")  # what is slow once in the process of all
        self.undisturbed, began = self.folder / "undisturbed", time.perf_counter()
        self.finish(self.undisturbed)
        self.seconds = time.perf_counter() - began
        self.wanted = contents(self.undisturbed)

    def start(self, out, *options):
        said = self.folder / "said" / str(next(self.count))
        return Command([*self.arguments, "--out", str(out), *options], said)

    def finish(self, out):
        status, error = self.start(out).ended()
        if status:
            raise RuntimeError(f"{self.name} ended with {status}: {error}")

    def moment(self):
        return self.rng.uniform(0, 1.1 * self.seconds)

    def check(self, out, whole=False):
        """RuntimeError unless each file is the one that an undisturbed run writes, and all are
        there if it is `whole`."""
        found = contents(out, finished=whole)
        wrong = [name for name, content in found.items() if content != self.wanted.get(name)]
        if wrong or (whole and len(found) != len(self.wanted)):
            raise RuntimeError(f"{self.name}: {wrong or 'lost files'} in {out}")

    def killed(self, times):
        """Begun again as often as it takes to kill it so many times: how often it ended first."""
        out, ended, kills, said = self.folder / "killed-0", 0, 0, []
        while kills < times:
            command = self.start(out)
            if command.ended(self.moment())[0] == 0:
                self.check(out, whole=True)
                ended += 1
                out, said = self.folder / f"killed-{ended}", []
                continue
            kills += 1
            self.check(out)
            said += command.names() if self.name == "sample" else []
            if lost := [path for path in said if not path.exists()]:
                raise RuntimeError(f"{lost} were said to be written")
        self.finish(out)
        self.check(out, whole=True)
        return ended

    def disk_full(self, times):
        """On disks of random sizes, begun again with room: how often the disk was full."""
        out, full = self.folder / "disk", 0
        size = sum(PAGE + file.stat().st_size for file in self.undisturbed.rglob("*"))
        for _ in range(times):
            out.mkdir()
            room = PAGE * self.rng.randrange(2, size // PAGE)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "disk", out], check=True)
            try:
                status, error = self.start(out).ended()
                if status:
                    full += 1
                    if status != 2 or error.count("\n") != 1 or not error.startswith("ilvr: "):
                        raise RuntimeError(f"on a full disk, {status}: {error}")
                    self.check(out)
                    subprocess.run(["mount", "-o", "remount,size=1g", out], check=True)
                    self.finish(out)
                self.check(out, whole=True)
            finally:
                subprocess.run(["umount", out], check=True)
                out.rmdir()
        return full

    def at_once(self, times):
        """The same command two or four times into one folder: how many were refused."""
        refused = 0
        for i in range(times):
            out, running = self.folder / f"at-once-{i}", []
            for _ in range(2 + 2 * (i % 2)):
                running.append(self.start(out))
                time.sleep(self.rng.uniform(0, 0.3))
            ends = [command.ended() for command in running]
            busy = [status == 2 and BUSY in error for status, error in ends]
            if any(status and not refusal for (status, _), refusal in zip(ends, busy)) or all(busy):
                raise RuntimeError(f"{self.name} at once: {ends}")
            refused += sum(busy)
            self.check(out, whole=True)
        return refused


def contents(out, finished=True):
    """{name: what can be compared} of the pictures and tables in a folder."""
    found = {}
    for path in out.rglob("*"):
        if ".partial" in path.name and finished:
            raise RuntimeError(f"{path} is left over")
        name = str(path.relative_to(out))
        if path.suffix == ".png" and "figure" not in name:
            found[name] = open_image(path).tobytes(), str(read_parameters(path))
        elif path.name in TABLES:
            found[name] = path.read_bytes()
        elif path.suffix == ".npz":
            with np.load(path) as file:
                found[name] = {key: file[key].tobytes() for key in file if key != "seconds"}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    os.environ["OMP_NUM_THREADS"] = "1"
    Command.processes.set_forkserver_preload(["ilvr.cli", "ilvr.evaluation.run"])
    print("| command | files | killed, of it ended before | disks, of them full "
          "| folders for 2 or 4 at once, refused |\n|---|---|---|---|---|")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model, references = folder / "small.safetensors", folder / "references"
        write_small_model(model)
        references.mkdir()
        for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3))):
            Image.fromarray(pixels.astype(np.uint8)).save(references / f"{i}.png")
        for name, options in (("sample", SAMPLE), ("evaluate", EVALUATE)):
            trial = Trial(name, folder, model, references, options)
            folders = max(2, times // 4)
            ended, refused = trial.killed(times), trial.at_once(folders)
            full = f"{times}, {trial.disk_full(times)}" if os.getuid() == 0 else "none without root"
            print(f"| {name} | {len(trial.wanted)} | {times}, {ended} | {full} "
                  f"| {folders}, {refused} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
