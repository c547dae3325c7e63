"""What pictures are measured with: the encoder of the loaded U-Net, or published networks.

Everything takes (B, 3, H, W) in [-1, 1] as 8-bit pictures show them.
"""

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import DiffusionModel
from ..noise import ItemNoise

TIMESTEP = 50  # at which the encoder sees pictures: nearly all of their detail is left
NIQE_SIZE = 96  # pixels of a side of its blocks
PIP = "pip install 'ilvr[evaluate]'"


class Encoder:
    """The encoder of a diffusion model's U-Net, which sees every picture under the same noise."""

    def __init__(self, model: DiffusionModel, label: int | None = None):
        self.model, self.encode = model, model.encoder(label)
        self.level = min(model.schedule.levels, key=lambda level: abs(level.t - TIMESTEP))

    def features(self, images: Tensor) -> np.ndarray:
        """(B, D): the means over all places of each resolution's last activations."""
        pooled = [x.mean((2, 3)) for x in self._activations(images)]
        return torch.cat(pooled, dim=1).cpu().numpy()

    def diversity(self, images: Tensor) -> float:
        """The mean distance of all pairs: LPIPS's, with the encoder for its network and equal
        weights; in each place activations have length 1, and each level counts by its mean."""
        units = [
            F.normalize(x, dim=1).flatten(1) / (x.shape[-1] * x.shape[-2]) ** 0.5
            for x in self._activations(images)
        ]
        return float(torch.pdist(torch.cat(units, dim=1)).mean())

    def _activations(self, images):
        """The last activations of each resolution on the way down, fp32, the deepest last."""
        x = self.model.encode(images.to(self.model.device))
        noise = ItemNoise([0]).draw("reference", self.level.t, x[:1])
        activations = self.encode(self.level.noised(x, noise), self.level.t)
        return list({a.shape[-1]: a.float() for a in activations}.values())


def measures(metrics: Sequence[str], features: str, model: DiffusionModel, label: int | None):
    """(features of images (B, D), diversity of images, NIQE of images (B,)): functions, or None
    where they are not among the metrics.

    Raises ValueError where a library or its weights are missing.
    """
    device = model.device
    natural = niqe(device, model.configuration.picture_size) if "niqe" in metrics else None
    if features == "model":
        encoder = Encoder(model, label)
        return encoder.features, encoder.diversity, natural
    described = inception(device) if "fid" in metrics else None
    return described, lpips(device) if "lpips" in metrics else None, natural


def inception(device) -> Callable[[Tensor], np.ndarray]:
    """The 2048 features of FID: torch-fidelity's port of the original network and resizing."""
    with _published("fid"):
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).to(device)

    @torch.inference_mode()
    def features(images):
        return network(_bytes(_colour(images)).to(device))[0].cpu().numpy()

    return features


def lpips(device) -> Callable[[Tensor], float]:
    """The mean LPIPS (AlexNet, version 0.1) of all pairs."""
    with _published("lpips"):
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        metric = LearnedPerceptualImagePatchSimilarity("alex").to(device)

    @torch.inference_mode()
    def diversity(images):
        images = _colour(images)
        metric.reset()
        for i in range(len(images) - 1):
            others = images[i + 1 :].to(device)
            metric.update(images[i : i + 1].to(device).expand_as(others), others)
        return float(metric.compute())

    return diversity


def niqe(device, size: int) -> Callable[[Tensor], np.ndarray]:
    """NIQE of each picture, with pyiqa's port of the original parameters."""
    if size < NIQE_SIZE:
        raise ValueError(
            f"niqe looks at blocks of {NIQE_SIZE} x {NIQE_SIZE} pixels and this model's pictures "
            f"have {size} x {size}; leave niqe out of --metrics."
        )
    with _published("niqe"):
        import pyiqa

        metric = pyiqa.create_metric("niqe", device=device)

    @torch.inference_mode()
    def quality(images):
        return metric((_colour(images).to(device) + 1) / 2).reshape(-1).cpu().numpy()

    return quality


def _colour(images):
    return images.expand(-1, 3, -1, -1)  # grey ones too


def _bytes(images):
    return ((images + 1) * 127.5).round().byte()


@contextlib.contextmanager
def _published(metric):
    """One sentence where the library of a metric, or the weights that it downloads, are missing."""
    try:
        yield
    except ImportError as error:
        raise ValueError(
            f"{metric} needs a library that is not here ({error}); install it with {PIP}, or "
            f"choose --features model, without niqe."
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"The library of {metric} could not load its published weights ({error}); they are "
            f"downloaded once, so connect to the internet, or choose --features model, without "
            f"niqe."
        ) from None
