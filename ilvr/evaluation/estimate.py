"""How long a larger evaluation takes: `python -m ilvr.evaluation.estimate DIR --images 50000`.

hours = settings x images x seconds per image / GPUs / 3600, from the seconds measured in DIR, of a
GPU or of a process on the CPU. Units do not wait for each other, so that the work is shared without
loss.
"""

import argparse
import json
from pathlib import Path

from .folder import SETTINGS


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each number of GPUs."""
    parser = argparse.ArgumentParser("python -m ilvr.evaluation.estimate", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a finished evaluation")
    parser.add_argument("--images", type=int, default=50_000, help="a setting [50000]")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64], help="[1 8 64]")
    options = parser.parse_args(arguments)
    times = json.loads((options.folder / "times.json").read_text())
    kept = json.loads((options.folder / SETTINGS).read_text())
    device, threads = kept["settings"]["device"], kept["threads"]
    places = f"processes of {threads} CPU threads" if device == "cpu" else f"{device} devices"
    work = f"{len(times)} settings, {options.images} images each"
    for count in options.gpus:
        print(f"{work}, {count} {places}: {hours(times, options.images, count):.1f} h")
    return 0


def hours(times: list[dict], images: int, gpus: int) -> float:
    """times: those of times.json, one a setting."""
    return sum(time["seconds per image"] for time in times) * images / gpus / 3600


if __name__ == "__main__":
    raise SystemExit(main())
