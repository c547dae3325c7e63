"""What ILVR costs: `python -m benchmarks.speed`. Compares within one run and prints ratios."""

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from resize_right import resize
from safetensors.torch import save_file

from ilvr import (
    DiffusionModel,
    ItemNoise,
    LowPassFilter,
    NoisedReference,
    Refinement,
    ddpm,
    load,
)
from ilvr.checkpoint import PUBLISHED

FACES = next(value for name, value in PUBLISHED.items() if name.startswith("ILVR"))


def main():
    low_pass()
    refinement_step()
    loading()


def alternating(*functions, rounds):
    """Median seconds of a call of each; they take turns of five calls, the first not counted."""
    times = [[] for _ in functions]
    for _ in range(rounds):
        for function, taken in zip(functions, times):
            function()
            for _ in range(4):
                start = time.perf_counter()
                function()
                taken.append(time.perf_counter() - start)
    return [median(taken) for taken in times]


def low_pass():
    print("phi (cubic, exact) against resize-right and F.interpolate(antialias=True), down plus up")
    print(
        "| size | N | phi, ms | resize-right / phi | F.interpolate / phi |\n|---|---|---|---|---|"
    )
    for shape in ((1, 3, 256, 256), (1, 3, 1024, 1024), (1, 4, 128, 128)):
        for factor in (8, 32):
            x = torch.randn(shape)
            phi, interpolated, right = alternating(
                partial(LowPassFilter(factor), x),
                partial(interpolate, x, factor),
                partial(resize_right, x, factor),
                rounds=15,
            )
            print(
                f"| {' x '.join(map(str, shape[1:]))} | {factor} | {1000 * phi:.2f} "
                f"| {right / phi:.1f} | {interpolated / phi:.2f} |"
            )


def interpolate(x, factor):
    options = {"mode": "bicubic", "antialias": True}
    return F.interpolate(
        F.interpolate(x, scale_factor=1 / factor, **options), size=x.shape[-2:], **options
    )


def resize_right(x, factor):
    return resize(resize(x, scale_factors=1 / factor), scale_factors=factor)


def refinement_step():
    """The share of the refinement, timed inside whole sampling steps, so that noise cancels."""
    model = DiffusionModel(FACES.network().eval(), FACES)
    model.network.requires_grad_(False)
    y = torch.zeros(1, 3, 256, 256)
    refinement = Timed(NoisedReference(y), LowPassFilter(8))
    steps = ddpm(model.denoiser(), torch.randn_like(y), model.schedule, ItemNoise([0]), refinement)
    shares = []
    next(steps)
    for _ in range(8):
        refinement.seconds, start = 0.0, time.perf_counter()
        next(steps)
        shares.append(refinement.seconds / (time.perf_counter() - start - refinement.seconds))
    print("\nILVR (N = 8) on the 128-channel 256x256 model: what the refinement adds to a step")
    print(f"{100 * median(shares):.2f} %, {torch.get_num_threads()} threads")


class Timed(Refinement):
    seconds = 0.0

    def state(self, *arguments):
        start = time.perf_counter()
        x = super().state(*arguments)
        self.seconds += time.perf_counter() - start
        return x


def loading():
    """Peak memory of `load` in a fresh process, less the model itself, over the file's size."""
    print("\nPeak memory of loading the 128-channel 256x256 model beside the model, over the file")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".pt", ".safetensors"):
            path = Path(folder) / f"faces{suffix}"
            make = [sys.executable, "-m", "benchmarks.speed", "write", str(path)]
            subprocess.run(make, check=True)
            peak = [sys.executable, "-m", "benchmarks.speed", "peak", str(path)]
            subprocess.run(peak, check=True)


def write(path):
    state = FACES.network().state_dict()
    if path.endswith(".pt"):
        torch.save(state, path)
    else:
        save_file(state, path)


def peak(path):
    load()  # what the first use of torch takes is not the checkpoint's
    before = reset_peak()
    model = load(path)
    weights = sum(p.numel() * p.element_size() for p in model.network.parameters()) / 2**20
    size = Path(path).stat().st_size / 2**20
    print(
        f"{Path(path).suffix}: {(memory('VmHWM') - before - weights) / size:.2f} ({size:.0f} MiB)"
    )


def reset_peak():
    """MiB in use now, from which the kernel counts the peak anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(entry)).split()[1]) / 1024


if __name__ == "__main__":
    {"write": write, "peak": peak}[sys.argv[1]](sys.argv[2]) if sys.argv[1:] else main()
