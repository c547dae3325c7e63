"""The U-Net beside guided-diffusion's, a forward pass at 256x256: `python -m benchmarks.unet`.

The network of ILVR's faces (128 channels) with random weights, one thread, each in a process of its
own: CPU seconds (median of 3 after one that is not counted; seconds of the clock on a GPU) and the
peak of memory beside the weights. guided-diffusion's code is a clone of openai/guided-diffusion in
$GUIDED_DIFFUSION, else ~/guided-diffusion; it is only run. With a GPU, --device cuda adds float16,
and torch.compile, whose first call is told apart.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks.speed import FACES, memory, reset_peak
from ilvr.settings import DTYPES, fastest_dtype

THEIRS = Path(os.environ.get("GUIDED_DIFFUSION", "~/guided-diffusion")).expanduser()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(*options.one, options.device)
    auto = fastest_dtype(options.device)
    dtypes = dict.fromkeys(["float32", auto, *(["float16"] * (options.device != "cpu"))])
    kinds = ["theirs", "ours", *(["compiled"] * (options.device != "cpu"))]
    name = torch.cuda.get_device_name() if options.device != "cpu" else "CPU, one thread"
    print(f"{name}; auto is {auto}")
    print(
        "| network | dtype | first call, s | a call, s | peak memory, MiB |\n|---|---|---|---|---|"
    )
    for kind in kinds:
        for dtype in dtypes:
            if (kind, dtype) != ("theirs", "bfloat16"):  # which it does not have
                command = [sys.executable, "-m", "benchmarks.unet", "--device", options.device]
                subprocess.run([*command, "--one", kind, dtype], check=True)


def one(kind, dtype, device):
    torch.set_num_threads(1)
    network = (guided_diffusion if kind == "theirs" else ours)(DTYPES[dtype]).to(device)
    if kind == "compiled":
        network = torch.compile(network)
    x, t = torch.randn(1, 3, 256, 256, device=device), torch.tensor([500.0], device=device)
    if kind != "theirs":
        x = x.contiguous(memory_format=torch.channels_last)
    gpu, seconds, clock = device != "cpu", [], time.process_time
    if gpu:
        clock = time.perf_counter
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() / 2**20 if gpu else reset_peak()
    for _ in range(4):
        begin = clock()
        with torch.inference_mode():
            network(x, t)
        if gpu:
            torch.cuda.synchronize()
        seconds.append(clock() - begin)
    peak = torch.cuda.max_memory_allocated() / 2**20 if gpu else memory("VmHWM")
    cells = f"{seconds[0]:.2f} | {median(seconds[1:]):.3f} | {peak - before:.0f}"
    print(f"| {kind} | {dtype} | {cells} |", flush=True)


def ours(dtype):
    network = FACES.network(dtype=dtype).eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


def guided_diffusion(dtype):
    sys.path.insert(0, str(THEIRS))
    from guided_diffusion.script_util import create_model

    network = create_model(
        image_size=256, num_channels=128, num_res_blocks=1, learn_sigma=True,
        attention_resolutions="16", num_heads=4, num_head_channels=64, use_scale_shift_norm=True,
        resblock_updown=True, use_fp16=dtype == torch.float16,
    )  # fmt: skip
    if dtype == torch.float16:
        network.convert_to_fp16()
    return network.eval().requires_grad_(False)


if __name__ == "__main__":
    main()
