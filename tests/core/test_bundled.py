"""The bundled model at the defaults: what a first picture shows."""

from pathlib import Path

import pytest

import ilvr
from tooling.pictures import pictures
from training.grain import energy, laplacian

REFERENCES = Path(__file__).parents[2] / "ilvr" / "assets" / "references"


def grain(images):
    """Mean log10 energy of the finest details of luminance."""
    return energy(laplacian(images.mean(1, keepdim=True), 1)[0]).mean().item()


@pytest.mark.parametrize("factor", [4, 8, 16])
def test_new_detail_under_the_same_layout_without_leftover_noise(factor):
    y, model = pictures(500, 8), ilvr.load("landscapes-64")
    low_pass = ilvr.LowPassFilter(factor)
    refinement = ilvr.Refinement(ilvr.NoisedReference(y), low_pass)
    images = ilvr.sample(model, range(8), refinement)
    assert (low_pass(images) - low_pass(y)).abs().max() < 1e-5
    change = (images - y).square().mean()
    assert change > 0.3 * (y - low_pass(y)).square().mean()
    assert abs(grain(images) - grain(y)) < 0.35


def test_flat_clip_art_becomes_textured():
    y, model = ilvr.load_image(REFERENCES / "clip-art.png", 64), ilvr.load("landscapes-64")
    refinement = ilvr.Refinement(ilvr.NoisedReference(y), ilvr.LowPassFilter(8))
    images = ilvr.sample(model, range(4), refinement)
    meadow, flat = images[..., 56:, :32], y[..., 56:, :32]
    assert grain(meadow) > grain(flat) + 0.5
    assert (meadow.mean((2, 3)) - flat.mean((2, 3))).abs().max() < 0.1
