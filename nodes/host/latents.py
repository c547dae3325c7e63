"""What the host's latents are made of: how many pixels a cell covers, what a run samples."""

import comfy.latent_formats as formats
import torch
from torch import Tensor

from ...ilvr import NoisedReference

# Of formats on which a host older than its `spacial_downscale_ratio` says nothing; 8 otherwise.
PIXELS_A_CELL = {
    "ChromaRadiance": 1,
    "HunyuanImage21": 32,
    "LTXV": 32,
    "SC_B": 4,
    "SC_Prior": 42,
    "Wan22": 16,
}


def pixels_a_cell(latent_format: formats.LatentFormat) -> float:
    """Image pixels along the side of a latent cell."""
    known = (PIXELS_A_CELL.get(kind.__name__) for kind in type(latent_format).__mro__)
    return getattr(
        latent_format, "spacial_downscale_ratio", next((n for n in known if n is not None), 8)
    )


def sampled_reference(latent: Tensor | None, x: Tensor, silent: Tensor) -> NoisedReference:
    """The latent (B, C, ...) that a run was given, in the model's own space, as its reference.

    x: the run's first state; silent: that state if no noise was added to it.
    Raises ValueError for an empty latent, for one that brings its noise along, and for none.
    """
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
    if torch.equal(x, silent):
        raise ValueError(
            "No reference is connected and the latent brings its noise along (add_noise is off), "
            "so that it is no picture to follow; connect a reference from NoisedReference."
        )
    return NoisedReference(latent.to(x.device, torch.float32))
