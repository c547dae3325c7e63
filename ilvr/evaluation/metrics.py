"""The metrics of an evaluation: where each stands in units and in tables, and what it is."""

from dataclasses import dataclass

from .plan import Task

DIMENSIONS = 16  # of the encoder's features, at most


@dataclass(frozen=True)
class Column:
    """One number of a metric: its `key` in a unit's arrays, its `name` in the results, and the
    `title` and `digits` of its table."""

    metric: str
    key: str
    name: str
    title: str
    digits: int


def columns(task: Task) -> list[Column]:
    """Those that are asked for. An encoder's distance is called neither FID nor LPIPS."""
    published = task.options.features == "inception"
    fid, lpips = ("FID", "LPIPS") if published else ("Frechet distance", "encoder distance")
    agreement = "Agreement with the reference in"
    known = [
        Column("fid", "fid", fid, f"Table 1. {fid}, lower is better", 2),
        Column("lpips", "lpips", lpips, f"Table 2. Diversity ({lpips}), higher is more diverse", 3),
        Column("niqe", "niqe", "NIQE", "Table A. NIQE, lower is better", 2),
        Column("agreement", "agreement", "agreement, dB", f"{agreement} float, dB", 1),
        Column("agreement", "agreement8", "agreement in 8 bits, dB", f"{agreement} 8 bits, dB", 1),
    ]
    return [column for column in known if column.metric in task.metrics]


def measured(task: Task) -> dict[str, str]:
    """{metric: in words, what it is}."""
    real = f"{len(task.real)} pictures of {task.options.real or 'the references'}"
    encoder = "the encoder of the loaded U-Net"
    if task.options.features == "inception":
        fid = "2048 features of Inception-v3 (torch-fidelity)"
        lpips = "LPIPS (AlexNet, torchmetrics)"
    else:
        fid = f"the {DIMENSIONS} leading whitened features of {encoder} at timestep 50"
        lpips = f"distance of the normalised activations in {encoder} at timestep 50"
    words = {
        "fid": f"Frechet distance to {real}: {fid}",
        "lpips": f"Diversity: {lpips}, mean over all pairs of the samples of one reference",
        "niqe": "NIQE (pyiqa), mean over pictures",
        "agreement": "PSNR of the downsampled picture against the downsampled reference, dB, mean "
        "over pictures: in float before clamping, and in 8 bits",
    }
    return {metric: words[metric] for metric in task.metrics}
