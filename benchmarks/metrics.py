"""The metrics of `python -m ilvr evaluate` against published numbers: `python -m benchmarks.metrics
DIR`, with `pip install '.[evaluate]'`. Weights are downloaded once.

DIR is ResultsCalibra of IQA-PyTorch (github.com/chaofengc/IQA-PyTorch): five pairs of TID2013 with
the numbers of the original LPIPS and of NIQE's MATLAB code. FID, of the distorted pictures against
the originals, is compared with torch-fidelity's own calculation, on whatever weights are there.
"""

import argparse
import csv
from pathlib import Path

import torch
import torch_fidelity

from ilvr.evaluation.features import inception, lpips, niqe
from ilvr.evaluation.tables import gaussians
from ilvr.image import open_image, to_tensor


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args().folder
    with (folder / "results_official.csv").open() as file:
        published = {row.pop("Method"): row for row in csv.DictReader(file)}
    names = sorted(published["lpips"])
    pairs = [[folder / kind / name for kind in ("dist_dir", "ref_dir")] for name in names]
    images = [torch.cat([to_tensor(open_image(path)) for path in pair]) for pair in pairs]
    diversity, quality = lpips("cpu"), niqe("cpu", min(images[0].shape[2:]))
    print("| picture | LPIPS | published | NIQE | published |\n|---|---|---|---|---|")
    for name, pair in zip(names, images):
        distance, value = diversity(pair), float(quality(pair[:1])[0])
        theirs = [float(published[metric][name]) for metric in ("lpips", "niqe")]
        print(f"| {name} | {distance:.4f} | {theirs[0]:.4f} | {value:.3f} | {theirs[1]:.3f} |")
    metric, features = gaussians(2048), inception("cpu")
    for pair in images:
        for real, one in enumerate(pair.split(1)):
            metric.update(torch.from_numpy(features(one)).double(), real=bool(real))
    where = {"input1": str(folder / "dist_dir"), "input2": str(folder / "ref_dir")}
    how = {"samples_find_ext": "bmp", "cuda": False, "cache": False}
    theirs = torch_fidelity.calculate_metrics(**where, **how, fid=True)
    ours = float(metric.compute())
    print(f"\nFID {ours:.7g}; torch-fidelity {theirs['frechet_inception_distance']:.7g}")


if __name__ == "__main__":
    main()
