"""The reference picture y and its noised states y_t."""

import torch
from torch import Tensor

from .noise import ItemNoise
from .values import finite, tensor

NOISES = ("fresh", "fixed")
LOG_SIGMA_SPAN = 9.0  # that decides a picture, about


class NoisedReference:
    """The clean reference y and how its noise is drawn: y_t ~ q(y_t | y), Eq. 3.

    image: (B, C, ...) in the model's own space ([-1, 1] pixels or latents); cycled to the batch.
    noise: "fresh" at every level, as in the paper, or "fixed" once for all levels.
    mask: (1 or B, 1 or C, ...) in [0, 1], 1 = follow the reference, grey as much of it; cycled to
    the batch.
    seed: of the reference's noise, item i taking seed + i, or a list with one for each item; None
    takes the sampler's noise source.
    Raises ValueError for an unknown noise, for an image or a mask with values that are not finite,
    and for a mask with others than from 0 to 1 or of another size than the image's.
    """

    def __init__(self, image: Tensor, noise: str = "fresh", mask: Tensor | None = None, seed=None):
        if noise not in NOISES:
            raise ValueError(f"Unknown reference noise {noise!r}: choose fresh or fixed.")
        image = finite(image, "The reference", axes=3)
        if mask is not None:
            mask = tensor(mask, "The mask", axes=3)
            if mask.shape[2:] != image.shape[2:]:
                raise ValueError(
                    f"The mask is {_size(mask)} and the reference {_size(image)}; give them one "
                    f"size."
                )
            if not 0 <= mask.min() <= mask.max() <= 1:
                raise ValueError(
                    f"The mask has values from {mask.min():g} to {mask.max():g}; give it values "
                    f"from 0 (free) to 1 (follow the reference)."
                )
        if seed is not None and not isinstance(seed, int):
            seed = ItemNoise(seed).seeds
        self.image, self.noise, self.mask, self.seed = image, noise, mask, seed

    def clean(self, like: Tensor) -> Tensor:
        """y in fp32, cycled to `like`'s batch; ValueError unless the other axes agree."""
        if self.image.shape[1:] != like.shape[1:]:
            raise ValueError(
                f"The reference has shape {tuple(self.image.shape)} and the state "
                f"{tuple(like.shape)}; all axes but the batch must agree."
            )
        return _cycle(self.image, like)

    def noised(self, level, like: Tensor, noise: ItemNoise) -> Tensor:
        """y_t at `level`, which noises by `level.noised(clean, eps)`; the noise is that of its
        `key`, and a key of 0 has none."""
        y = self.clean(like)
        if level.key == 0:
            return y
        key = 0 if self.noise == "fixed" else level.key
        return level.noised(y, self._source(noise, y).draw("reference", key, y))

    def lacking(self, level, like: Tensor, noise: ItemNoise) -> Tensor | None:
        """sigma sqrt(2 (1 - m^2)) eps, the noise that grey mask, or its border, takes from a state.

        x + A (y_t - x) with A = m phi m mixes two independent noises, which leaves 1 - 2 A (1 - A)
        of their variance. m phi of this has exactly the rest: A (1 - A) = m phi (1 - m^2) phi m,
        whatever the mask. None without a mask or noise, and for fixed noise, which x has already.
        """
        mask = self.step_mask_for(like)
        if mask is None or level.key == 0 or self.noise == "fixed":
            return None
        eps = self._source(noise, like).draw("mask", level.key, like)
        return (2 * (1 - mask.square())).sqrt() * level.noised(torch.zeros_like(eps), eps)

    def _source(self, noise, like):
        if self.seed is None:
            return noise
        one = isinstance(self.seed, int)
        return ItemNoise(range(self.seed, self.seed + len(like)) if one else self.seed)

    def mask_for(self, like: Tensor) -> Tensor | None:
        return None if self.mask is None else _cycle(self.mask, like)

    def step_mask_for(self, like: Tensor) -> Tensor | None:
        """The mask m of one step: grey g is m^2 = 1 - (1 - g)^(1 / 9), as of a strength g, so that
        of the difference in low frequencies about g is gone in the finished image."""
        mask = self.mask_for(like)
        return None if mask is None else (1 - (1 - mask) ** (1 / LOG_SIGMA_SPAN)).sqrt()


def _cycle(items, like):
    index = torch.arange(len(like)) % len(items)
    return items[index.to(items.device)].to(like.device, torch.float32)


def _size(x):
    return " x ".join(str(n) for n in x.shape[2:])
