"""What the host's latents are made of: pixels a cell, folded cells, parts, an item's number."""

import math

import comfy.latent_formats as formats
import torch
from torch import Tensor

# Of formats on which a host older than its `spacial_downscale_ratio` says nothing; 8 otherwise.
PIXELS_A_CELL = {
    "ChromaRadiance": 1,
    "HunyuanImage21": 32,
    "LTXV": 32,
    "SC_B": 4,
    "SC_Prior": 42,
    "Wan22": 16,
}
FRAMES_A_CELL = {  # pictures a latent frame, the first of them one, as above; 1 otherwise
    "Cosmos1CV8x8x8": 8,
    "HunyuanVideo": 4,
    "LTXV": 8,
    "Mochi": 6,
    "Wan21": 4,
}
FOLDED = {"Flux2": 2}  # formats whose channels hold n x n cells of a grid n times as fine
NUMBERS = 64  # of items that are looked for; LatentFromBatch knows as many
DRAWN = 2**25  # values at most that are drawn to find an item's number


def pixels_a_cell(latent_format: formats.LatentFormat) -> float:
    """Image pixels along the side of a latent cell."""
    of_old_hosts = _by_class(PIXELS_A_CELL, latent_format, 8)
    return getattr(latent_format, "spacial_downscale_ratio", of_old_hosts)


def frames_a_cell(latent_format: formats.LatentFormat) -> int:
    """Pictures of a video in each latent frame but the first, which is one."""
    of_old_hosts = _by_class(FRAMES_A_CELL, latent_format, 1)
    return getattr(latent_format, "temporal_downscale_ratio", of_old_hosts)


def folds(latent_format: formats.LatentFormat) -> int:
    """How many cells of the true grid lie along the side of one latent cell, in its channels."""
    return _by_class(FOLDED, latent_format, 1)


def _by_class(table, latent_format, otherwise):
    names = [kind.__name__ for kind in type(latent_format).__mro__]
    return next((table[name] for name in names if name in table), otherwise)


class Unfolded:
    """A low-pass filter on the true grid of latents (B, C n n, ..., h, w) with folded cells."""

    def __init__(self, low_pass, n: int):
        self.low_pass, self.n = low_pass, n

    def __call__(self, x: Tensor) -> Tensor:
        low = self.low_pass(self.unfolded(x)).movedim(1, -3)
        return torch.nn.functional.pixel_unshuffle(low, self.n).movedim(-3, 1)

    def unfolded(self, x: Tensor) -> Tensor:
        """(B, C, ..., h n, w n)"""
        frames = x.movedim(1, -3)  # B ... Cnn h w
        return torch.nn.functional.pixel_shuffle(frames, self.n).movedim(-3, 1)


class Part:
    """The part of a state that is guided: all of it, or the video of a latent packed with sound.

    Raises ValueError for a state that holds neither pictures nor a video.
    """

    def __init__(self, model, x: Tensor):
        self.shape: tuple[int, ...] = ()
        self.cut: slice | None = None
        if x.ndim in (4, 5):
            return
        begin = 0
        for shape in getattr(model, "latent_shapes", None) or ():
            end = begin + math.prod(shape[1:])
            if x.ndim == 3 and len(shape) == 5:
                self.shape, self.cut = shape[1:], slice(begin, end)
                return
            begin = end
        raise ValueError(
            f"This latent has shape {tuple(x.shape)}, which is no picture or video: ILVR can't "
            f"guide sound alone or 3D shapes."
        )

    def of(self, x: Tensor) -> Tensor:
        return x if self.cut is None else x[..., self.cut].reshape(len(x), *self.shape)

    def put(self, x: Tensor, part: Tensor) -> Tensor:
        """x with another part, in place."""
        target = x if self.cut is None else x[..., self.cut]
        target.copy_(part.reshape(target.shape))
        return x


def item_numbers(x: Tensor, seed: int, noised) -> list[int]:
    """Which numbers in their batch the items of the state x (B, ...) have, by the host's noise.

    The host draws the noise of item n as the nth of its seed, so that an item of a batch made
    again alone is what it was (`batch_index`). noised(eps, i): item i of the state with this noise.
    Items of another noise have their place as their number.
    """
    numbers: list[int | None] = [None] * len(x)
    draws = torch.Generator().manual_seed(seed)
    for n in range(max(len(x), min(NUMBERS, DRAWN // max(x[0].numel(), 1)))):
        eps = torch.randn(x.shape[1:], generator=draws).to(x.device)
        for i, number in enumerate(numbers):
            if number is None and torch.allclose(noised(eps, i), x[i].float(), rtol=1e-4):
                numbers[i] = n
        if None not in numbers:
            break
    return [i if number is None else number for i, number in enumerate(numbers)]


def check_sampled(latent: Tensor | None, continued: bool):
    """Raises ValueError for a latent that is no picture to follow: none, empty, or with noise."""
    if latent is None:
        raise ValueError(
            "A node around ILVR keeps the latent to itself, so that it can't be the reference; "
            "use Apply ILVR on the model, or connect a reference from NoisedReference."
        )
    if not latent.any():
        raise ValueError(
            "No reference is connected and the latent is empty, so that there is nothing to "
            "follow; connect one from NoisedReference, or give the sampler a picture's latent "
            "from VAE Encode."
        )
    if continued:
        raise ValueError(
            "No reference is connected and the latent brings its noise along (add_noise is off), "
            "so that it is no picture to follow; connect a reference from NoisedReference."
        )
