"""Time and memory of what grows: the filter by size, references by frames and by their number.

python -m benchmarks.sizes

Seconds are of the processor, of one thread; memory is what the process has more at its peak. Each
line is measured in a process of its own.
"""

import multiprocessing
import resource
import time

import torch

from ilvr import ItemNoise, LowPassFilter, NoisedReference, NoiseSchedule

LEVEL = NoiseSchedule.linear().levels[500]
LINES = {  # what is measured, and the shapes of it
    "filter, one channel, N = 16": [(1, 1, n, n) for n in (2048, 4096, 8192, 16384)],
    "video reference of latents, noised and filtered": [(1, 16, t, 60, 104) for t in (21, 41, 81)],
    "references of 64 pixels, noised and filtered": [(n, 3, 64, 64) for n in (256, 1024, 4096)],
}


def work(shape):
    x = torch.rand(shape).mul_(2).sub_(1)
    low_pass = LowPassFilter(16)
    before, start = _peak(), time.process_time()
    if shape[1] == 1:
        low_pass(x)
    else:
        noise = ItemNoise(range(len(x)))
        low_pass(NoisedReference(x).noised(LEVEL, x, noise))
    return time.process_time() - start, _peak() - before


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    torch.set_num_threads(1)
    processes = multiprocessing.get_context("spawn")
    print("| what | shape | million values | s | MB | s per million |\n|---|---|---|---|---|---|")
    for name, shapes in LINES.items():
        for shape in shapes:
            with processes.Pool(1) as pool:
                seconds, memory = pool.apply(work, (shape,))
            millions = torch.Size(shape).numel() / 1e6
            size = " x ".join(map(str, shape))
            print(
                f"| {name} | {size} | {millions:.1f} | {seconds:.2f} | {memory:.0f} "
                f"| {seconds / millions:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
