"""Checkpoints as the host's own models, against the core."""

import dataclasses
import importlib
import json
import re
from pathlib import Path

import comfy.samplers
import comfy.utils
import folder_paths
import numpy as np
import pytest
import torch

import nodes

from .host import PACK, SEED, core, ilvr, low_pass, node, noise, picture, reference, sample, sigmas

checkpoint = importlib.import_module(f"{PACK}.ilvr.checkpoint")
ADM = folder_paths.get_folder_paths("adm")[0]
SMALL = checkpoint.Configuration(32, (1, 2), 1, (2,), image_size=16, num_head_channels=16)


def load(name="landscapes-64.safetensors", label=-1):
    return node("LoadUnconditionalModel", name, label)


def save(name, **changes):
    """A small model with weights of its own in the host's models/adm; its configuration."""
    configuration = dataclasses.replace(SMALL, **changes)
    shapes = configuration.network(device="meta").state_dict()
    weights = {name: 0.1 * noise(1, *value.shape)[0] for name, value in shapes.items()}
    checkpoint.save(weights, configuration, f"{ADM}/{name}")
    return configuration


def start(model, x, label=None):
    """The host's and the core's prediction of x_0 at every eighth of the schedule."""
    sampling = model.get_model_object("model_sampling")
    condition = {} if label is None else {"y": torch.full((len(x),), label)}
    for sigma in sampling.sigmas[:: len(sampling.sigmas) // 8]:
        state = x * torch.sqrt(1 + sigma**2)
        yield sigma, state, model.model.apply_model(state, sigma.expand(len(x)), **condition)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"noise_schedule": "cosine"},
        {"noise_schedule": "cosine", "diffusion_steps": 4000, "rescale_timesteps": True},
        {"diffusion_steps": 4000, "learn_sigma": False},
        {"num_classes": 5, "use_new_attention_order": True},
    ],
    ids=str,
)
def test_predictions_are_the_cores(changes):
    save("some.safetensors", **changes)
    label = 3 if "num_classes" in changes else None
    assert_predictions_are_the_cores("some.safetensors", f"{ADM}/some.safetensors", label)


def assert_predictions_are_the_cores(name, path, label=None):
    model, own = load(name, -1 if label is None else label)[0], checkpoint.load(path)
    denoiser, levels = own.denoiser(label), own.schedule.levels
    x = noise(2, 3, 16, 16)
    for level, (sigma, state, x0) in zip(levels[:: len(levels) // 8], start(model, x, label)):
        assert abs(float(sigma) / level.sigma - 1) < 1e-5
        eps = denoiser(state * level.signal, level.t)[:, :3]
        wanted = (state - level.sigma * eps).clamp(-1, 1)
        tolerance = 1e-4 * (1 + level.sigma)  # of float32 in the states, which are that large
        assert (x0 - wanted).abs().max() < min(tolerance, 0.05)


def save_diffusers(folder, **changes):
    """A small model in the layout of diffusers in the host's models/adm; the name of its file."""
    data = np.load(Path(__file__).parents[1] / "data" / "layouts.npz")
    config = json.loads(str(data["diffusers/google/config"]))
    lines = [line.split() for line in data["diffusers/google/keys"].tolist()]
    weights = {name: 0.1 * noise(1, *map(int, shape))[0] for name, *shape in lines}
    path = Path(ADM) / folder
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"} | config | changes))
    comfy.utils.save_torch_file(weights, str(path / "diffusion_pytorch_model.safetensors"))
    return f"{folder}/diffusion_pytorch_model.safetensors"


def test_a_folder_of_diffusers_is_listed_and_so_is_what_convert_makes_of_it():
    name = save_diffusers("church")
    checkpoint.convert(f"{ADM}/church", f"{ADM}/church.safetensors")
    listed = node_inputs()["checkpoint"]
    for listed_name in (name, "church.safetensors"):
        assert listed_name in listed
        assert_predictions_are_the_cores(listed_name, f"{ADM}/church")


def node_inputs():
    """What the node offers in each of its lists."""
    schema = nodes.NODE_CLASS_MAPPINGS["LoadUnconditionalModel"].GET_SCHEMA()
    return {i.id: i.options for i in schema.inputs if hasattr(i, "options")}


@pytest.mark.parametrize("file", ["config.json", "scheduler_config.json"])
def test_a_changed_configuration_is_a_changed_model(file):
    name = save_diffusers(f"changing-{file}")
    fingerprint = nodes.NODE_CLASS_MAPPINGS["LoadUnconditionalModel"].fingerprint_inputs
    before = fingerprint(name)
    assert fingerprint(name) == before
    (Path(ADM) / f"changing-{file}" / file).write_text("{}")
    assert fingerprint(name) != before


@pytest.mark.parametrize(
    "name, loader",
    [
        ("UNet2DConditionModel", "latent diffusion .* Load Checkpoint or Load Diffusion Model"),
        ("AutoencoderKL", "VAE .* Load VAE"),
        ("ControlNetModel", "ControlNet .* Load ControlNet Model"),
    ],
)
def test_names_the_loader_of_another_class_of_diffusers(name, loader):
    file = save_diffusers(name, _class_name=name)
    with pytest.raises(ValueError, match=rf"is a .*{loader} loads it"):
        load(file)


def test_percents_count_the_whole_schedule():
    save("long.safetensors", noise_schedule="cosine", diffusion_steps=4000)
    for name, length in (("long.safetensors", 4000), ("landscapes-64.safetensors", 1000)):
        sampling = load(name)[0].get_model_object("model_sampling")
        for percent in (0.25, 0.5, 0.9):
            index = (1 - percent) * (length - 1)
            low, high = sampling.sigmas[int(index)], sampling.sigmas[int(index) + 1]
            assert float(low) <= sampling.percent_to_sigma(percent) <= float(high)
        assert sampling.percent_to_sigma(0) > 1e8 and sampling.percent_to_sigma(1) == 0


@pytest.mark.parametrize("variance", ["auto", "learned", "small", "large"])
def test_ddpm_sampler_is_the_cores(variance):
    model = load()[0]
    schedule = node("RespacedScheduler", model, "25")[0]
    sampler = node("DDPMSampler", variance)[0]
    own = core.load("landscapes-64")
    x = core.ItemNoise([SEED]).draw("start", 1000, torch.empty(1, 3, 64, 64))
    latent = torch.zeros_like(x)
    settings = {"sampler": "ddpm", "respacing": 25}
    settings["variance"] = None if variance == "auto" else variance
    wanted = core.sample(own, [SEED], **settings)
    got = sample(model, sampler, schedule, latent=latent, start=x)
    assert (got - wanted).abs().max() < 1e-3

    image = picture(1, 64, 64, 3)
    guided = ilvr(sampler, reference(image, seed=9), low_pass(8))
    y = core.NoisedReference(image.movedim(-1, 1) * 2 - 1)
    refined = sample(model, guided, schedule, latent=latent, start=x)
    phi = core.LowPassFilter(8)
    assert (phi(refined) - phi(y.image)).abs().max() < 1e-4


def test_respaced_scheduler_is_guided_diffusions():
    model = load()[0]
    for spacing in ("25", "ddim50", "10,20,30"):
        schedule = node("RespacedScheduler", model, spacing)[0]
        wanted = [level.sigma for level in core.NoiseSchedule.linear().respaced(spacing).descending]
        assert torch.allclose(schedule, torch.tensor(wanted), rtol=1e-5)


def test_every_core_sampler_and_scheduler_runs_on_it():
    save("some.safetensors")
    model, latent = load("some.safetensors")[0], torch.zeros(1, 3, 16, 16)
    for name in comfy.samplers.SAMPLER_NAMES:
        assert sample(model, name, sigmas(model, 3), latent=latent).isfinite().all(), name
    for name in comfy.samplers.SCHEDULER_NAMES:
        schedule = sigmas(model, 3, name)
        assert sample(model, "euler", schedule, latent=latent).isfinite().all(), name


def test_a_name_does_not_lead_out_of_the_folders():
    save("../outside.safetensors")
    outside = Path(ADM).parent / "outside.safetensors"
    names = ("../outside.safetensors", "a/../../outside.safetensors", str(outside), "/etc/passwd")
    for name in names:
        with pytest.raises(ValueError, match=r"no checkpoint .* in models/adm any more"):
            load(name)
    outside.unlink()


def test_says_what_does_not_fit():
    save("classes.safetensors", num_classes=5)
    with pytest.raises(ValueError, match="has classes 0 to 4"):
        load("classes.safetensors")
    with pytest.raises(ValueError, match="has no classes; set class_label to -1 instead of 2"):
        load(label=2)
    with pytest.raises(ValueError, match=r"no checkpoint gone\.pt in models/adm any more"):
        load("gone.pt")
    model = load()[0]
    with pytest.raises(ValueError, match="divide by 8; 60 x 64 does not"):
        sample(model, "euler", sigmas(model, 2), latent=torch.zeros(1, 3, 64, 60))
    with pytest.raises(ValueError, match="4 channels and this model takes 3"):
        sample(model, "euler", sigmas(model, 2), latent=torch.ones(1, 4, 64, 64))
    with pytest.raises(ValueError, match="of 8 x 8 pixels and this model was trained for 64"):
        sample(model, "euler", sigmas(model, 2), latent=torch.zeros(1, 3, 8, 8))
    labelled = load("classes.safetensors", 2)[0]
    with pytest.raises(ValueError, match="needs a class"):
        sample(labelled, "euler", sigmas(labelled, 2), latent=torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize(
    "key, loader",
    [
        ("unet.lora_up.weight", "Load LoRA loads it"),
        ("model.transformer_blocks.0", "Load Checkpoint"),
    ],
)
def test_names_the_loader_of_another_kind(key, loader):
    comfy.utils.save_torch_file({key: torch.zeros(2)}, f"{ADM}/other.safetensors")
    with pytest.raises(ValueError, match=f"other.safetensors is a .* {loader}"):
        load("other.safetensors")


def test_newer_hosts_can_load_the_model_again():
    model, x = load()[0], noise(1, 3, 64, 64)
    function, arguments = model.cached_patcher_init
    again = function(*arguments, disable_dynamic=True)
    (_, _, wanted), *_ = start(model, x)
    (_, _, got), *_ = start(again, x)
    assert again.model is not model.model and torch.equal(got, wanted)


def test_interrupt_stops_inside_the_network():
    import comfy.model_management as memory

    model = load()[0]
    memory.interrupt_current_processing()
    with pytest.raises(memory.InterruptProcessingException):
        sample(model, "euler", sigmas(model, 2), latent=torch.zeros(1, 3, 64, 64))
    memory.interrupt_current_processing(False)


def test_pictures_far_above_the_trained_size_are_said_to_be(caplog):
    save("some.safetensors")
    model = load("some.safetensors")[0]
    for size, said in ((16, False), (24, False), (32, True)):
        caplog.clear()
        sample(model, "euler", sigmas(model, 2), latent=torch.zeros(1, 3, size, size))
        told = "of 32 x 32 pixels and this model was trained for 16.* 4 times as long"
        assert bool(re.search(told, caplog.text)) == said


def test_assumed_values_of_a_checkpoint_are_said(caplog):
    save("known.safetensors")
    weights = comfy.utils.load_torch_file(f"{ADM}/known.safetensors")
    comfy.utils.save_torch_file(weights, f"{ADM}/unknown.safetensors")
    for name in ("known", "unknown"):
        caplog.clear()
        load(f"{name}.safetensors")
        assert ("is of no published layout; assumed: " in caplog.text) == (name == "unknown")
