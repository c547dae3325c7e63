"""Latent models: what a network of v says, files with an autoencoder, following in latents."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ilvr import (
    ConditioningRange,
    LowPassFilter,
    NoisedReference,
    NoiseSchedule,
    Refinement,
    checkpoint,
    load,
    load_image,
    sample,
    steps,
)
from ilvr.cli import main
from ilvr.guidance import start_sigma
from ilvr.image import read_parameters

from .tiny import CONFIGURATIONS, LATENT, autoencoder, model, state_dict

REFERENCES = Path(__file__).parents[2] / "ilvr" / "assets" / "references"
LAKE = REFERENCES / "render-lake.png"
PICTURE = load_image(LAKE, 64)


@pytest.fixture(scope="module")
def tiny():
    return model(LATENT)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("latent") / "tiny.safetensors"
    checkpoint.save(state_dict(LATENT), LATENT, path, autoencoder(LATENT))
    return path


def run(*arguments):
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("t", [1000, 987.3, 500, 1])
@pytest.mark.parametrize("name", ["unconditional", "fixed_variance"])
def test_v_is_signal_noise_minus_noise_image(name, t):
    plain = model(CONFIGURATIONS[name])
    of_v = model(replace(CONFIGURATIONS[name], prediction="v"))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    level = of_v.schedule.at(t)

    v, variance = plain.denoiser()(x, t).tensor_split([3], dim=1)
    eps, same = of_v.denoiser()(x, t).tensor_split([3], dim=1)

    x0 = (x - level.noise * eps) / level.signal
    assert (x0 - (level.signal * x - level.noise * v)).abs().max() < 1e-4
    assert (v - (level.signal * eps - level.noise * x0)).abs().max() < 1e-4
    assert torch.equal(same, variance)


def test_a_timestep_has_the_level_of_the_table_and_of_karras_steps():
    schedule = NoiseSchedule.linear()
    for level in [*schedule.levels[::99], *schedule.karras(7)[:-1]]:
        found = schedule.at(level.t)
        np.testing.assert_allclose(
            (found.signal, found.noise), (level.signal, level.noise), rtol=1e-9
        )


def test_a_file_holds_both_parts(tiny, file, tmp_path):
    loaded = load(file)
    assert loaded.configuration == LATENT and loaded.assumed == []
    torch.testing.assert_close(loaded.encode(PICTURE), tiny.encode(PICTURE))
    images = sample(loaded, [3], steps=2)
    assert images.shape == (1, 3, 64, 64)
    assert (images - sample(tiny, [3], steps=2)).abs().max() < 1e-4

    recognised = checkpoint.convert(file, tmp_path / "again.safetensors")
    assert recognised.configuration == LATENT
    again = load(tmp_path / "again.safetensors", dtype=torch.float16)
    assert again.autoencoder.vae_scale.dtype == torch.float32
    assert torch.equal(again.encode(PICTURE), loaded.encode(PICTURE))


def test_steps_are_latents_that_nothing_clamps(tiny):
    *_, last = steps(tiny, [0, 1], steps=3)
    assert last.x.shape == last.x0.shape == (2, 4, 8, 8)
    assert last.x0.abs().max() > 1.1
    assert torch.equal(tiny.decode(last.x), sample(tiny, [0, 1], steps=3))


@pytest.mark.parametrize("guide", ["state", "prediction"])
def test_factors_are_of_pixels(tiny, guide):
    y = tiny.encode(PICTURE)
    refinement = Refinement(NoisedReference(y), LowPassFilter(16), guide=guide)
    *_, last = steps(tiny, [0], refinement, steps=3)
    two, four = LowPassFilter(2), LowPassFilter(4)  # in cells
    assert (two(last.x) - two(y)).abs().max() < 1e-4
    assert (last.x - y - four(last.x - y)).abs().max() > 0.1


def test_the_level_of_the_reference_is_that_of_its_latents(tiny):
    y = tiny.encode(PICTURE)
    refinement = Refinement(NoisedReference(y), LowPassFilter(32))
    first, *_, last = steps(tiny, [0], refinement, start="reference", steps=3)
    cells = start_sigma(y, LowPassFilter(4))
    levels = [level for level in tiny.schedule.levels if level.sigma >= cells]
    assert first.level.t < levels[0].t < 1000
    assert (LowPassFilter(4)(last.x) - LowPassFilter(4)(y)).abs().max() < 1e-4


def test_a_mask_is_one_of_cells(tiny):
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :36] = 1  # four cells and a half
    cells = tiny.on_cells(mask)
    assert cells.shape == (1, 1, 8, 8) and cells[0, 0, 0].tolist() == [1, 1, 1, 1, 0.5, 0, 0, 0]

    y = tiny.encode(PICTURE)
    refinement = Refinement(NoisedReference(y, mask=cells), LowPassFilter(1))
    *_, last = steps(tiny, [0], refinement, steps=3)
    assert (last.x - y)[..., :4].abs().max() < 1e-5
    assert (last.x - y)[..., 5:].abs().max() > 0.1


def test_a_picture_is_no_reference_of_latents(tiny):
    picture = NoisedReference(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r"has 3 channels and the model 4; give .* model\.encode"):
        sample(tiny, [0], Refinement(picture, LowPassFilter(32)), steps=1)


@pytest.mark.parametrize("factor", [1, 8])
def test_what_can_only_be_the_reference_is_refused(tiny, factor):
    reference, low_pass = NoisedReference(tiny.encode(PICTURE)), LowPassFilter(factor)
    said = f"Factor {factor} is no more than the 8 pixels of a latent cell.*16 or more"
    with pytest.raises(ValueError, match=said):
        steps(tiny, [0], Refinement(reference, low_pass))

    steps(tiny, [0], Refinement(reference, low_pass, ConditioningRange(1000, 200)))
    steps(tiny, [0], Refinement(reference, low_pass, guide="prediction", strength=0.5))


def test_sample_and_sweep_take_a_latent_model(file, tmp_path, capsys):
    options = ["--model", file, "--steps", 3, "--count", 1, "--out", tmp_path]
    assert run("sample", LAKE, *options) == 0
    made = tmp_path / "render-lake-N32-0.png"
    assert Image.open(made).size == (64, 64)
    assert read_parameters(made)["factor"] == 32

    assert run("sweep", LAKE, *options) == 0
    assert read_parameters(tmp_path / "sweep-render-lake.png")["factor"] == [16, 32, 64, 128]

    Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
    assert run("sample", LAKE, *options, "--factor", 1, "--mask", tmp_path / "mask.png") == 0
    capsys.readouterr()

    out = tmp_path / "none"
    assert run("sample", LAKE, *options[:-1], out, "--factor", 8) == 2
    assert "Factor 8 is no more than the 8 pixels" in capsys.readouterr().err
    assert not out.exists()


def test_evaluate_takes_a_latent_model(file, tmp_path, capsys):
    options = ["--model", file, "--steps", 1, "--samples-per-reference", 2, "--features", "model"]
    measured = ["--metrics", "lpips", "agreement", "--out", tmp_path]
    assert run("evaluate", LAKE, *options, *measured) == 0
    said = capsys.readouterr().out
    assert all(f"N = {n}" in said for n in (16, 32, 64, 128))


REFUSED = {
    "no autoencoder": (
        lambda path: checkpoint.save(state_dict(LATENT), LATENT, path),
        "model of latents, of 8 pixels a cell, without their autoencoder",
    ),
    "network of pixels": (
        lambda path: checkpoint.save(
            state_dict(CONFIGURATIONS["unconditional"]),
            replace(CONFIGURATIONS["unconditional"], compression=8),
            path,
            autoencoder(LATENT),
        ),
        "its network takes 3 channels and 8 pixels a cell, and .* have 4 channels",
    ),
    "the autoencoder alone": (
        lambda path: checkpoint.save(autoencoder(LATENT).state_dict(), LATENT, path),
        "is a VAE",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_lack_a_part_are_refused(tmp_path, name):
    write, message = REFUSED[name]
    write(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "a.safetensors")


def test_a_network_of_latents_alone_gives_no_pictures(tmp_path, capsys):
    configuration = replace(LATENT, compression=1, prediction="eps")
    checkpoint.save(state_dict(configuration), configuration, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").autoencoder is None
    options = ["--model", tmp_path / "a.safetensors", "--out", tmp_path / "out"]
    assert run("sample", LAKE, *options) == 2
    assert "latents of 4 channels without their autoencoder" in capsys.readouterr().err


def test_weights_of_an_autoencoder_that_are_not_finite_are_refused(tmp_path):
    broken = autoencoder(LATENT)
    broken.taesd_decoder[1].bias[0] = torch.nan
    checkpoint.save(state_dict(LATENT), LATENT, tmp_path / "a.safetensors", broken)
    with pytest.raises(ValueError, match=r"taesd_decoder\.1\.bias has values that are not finite"):
        load(tmp_path / "a.safetensors")


def test_loading_leaves_the_global_generator_alone(file):
    before = torch.get_rng_state()
    load(file)
    assert torch.equal(torch.get_rng_state(), before)


def test_bundled_models_have_names(tmp_path, capsys):
    options = ["--model", "landscapes-64", "--steps", 1, "--count", 1, "--out", tmp_path]
    assert run("sample", LAKE, *options) == 0
    assert read_parameters(tmp_path / "render-lake-N8-0.png")["model"] == "landscapes-64"
    assert load("landscapes-64").configuration.picture_size == 64

    assert run("inspect", "landscapes-65") == 2
    assert "landscapes-65: there is no such checkpoint file" in capsys.readouterr().err
