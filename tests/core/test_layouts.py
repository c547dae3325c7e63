"""The layouts of diffusers and of rosinality's code, against outputs of both.

tests/data/make_layouts.py ran them; tests/data/README.md says on what.
"""

import builtins
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ilvr import convert, ddim, inspect, load, sample
from ilvr.checkpoint import PUBLISHED, OtherKind, recognise
from ilvr.cli import main
from ilvr.image import open_image

from .tiny import weights

DATA = np.load(Path(__file__).parents[1] / "data" / "layouts.npz")
DIFFUSERS = ["google", "unpadded heads", "training script", "other norms", "resnet resampling"]
ROSINALITY = ["one head", "affine time, four heads"]
X, START = torch.from_numpy(DATA["x"]), torch.from_numpy(DATA["start"])
LINEAR = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}


def names(project, name):
    """The state dict's names and shapes."""
    lines = (line.split() for line in DATA[f"{project}/{name}/keys"].tolist())
    return {key: tuple(map(int, shape)) for key, *shape in lines}


def state_dict(project, name):
    state = weights(names(project, name))
    if project == "rosinality":
        state["time.0.inv_freq"] = torch.full((16,), 5.0)
    return state


def on_meta(project, name):
    return {key: torch.empty(shape, device="meta") for key, shape in names(project, name).items()}


def config(name, **changes):
    return json.loads(str(DATA[f"diffusers/{name}/config"])) | changes


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(content))
    elif path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def folder(path, name, suffix=".safetensors", unet="unet", scheduler="scheduler", **changes):
    """A pipeline as diffusers saves it; both names are "." where google's are flat."""
    index = {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]}
    write(path / "model_index.json", index)
    write(path / unet / "config.json", {"_class_name": "UNet2DModel"} | config(name, **changes))
    weights_file = f"diffusion_pytorch_model{suffix}"
    write(path / unet / weights_file, state_dict("diffusers", name))
    if f"diffusers/{name}/scheduler" in DATA:
        settings = json.loads(str(DATA[f"diffusers/{name}/scheduler"]))
        write(path / scheduler / "scheduler_config.json", settings)
    return path


def rosinality(path, name):
    """A file as its training leaves it, and what its shapes do not tell."""
    state = state_dict("rosinality", name)
    plain = {key: value + 1 for key, value in state.items()}
    write(path, {"model": plain, "ema": state, "optimizer": {"state": {0: {"step": 1}}}})
    return path, {"image_size": 16, "num_heads": 4 if "four" in name else 1}


def forward(model):
    y = torch.tensor([1, 4]) if model.configuration.num_classes else None
    return model.network(X, torch.tensor([3.0, 871.0]), y)


def assert_equals_the_original(model, key):
    assert (forward(model) - torch.from_numpy(DATA[f"{key}/output"])).abs().max() < 1e-5


@pytest.mark.parametrize("name", DIFFUSERS)
def test_a_folder_of_diffusers_gives_its_outputs(tmp_path, name):
    assert_equals_the_original(load(folder(tmp_path, name)), f"diffusers/{name}")


TRAJECTORIES = [
    "diffusers/google",
    "diffusers/training script",
    "diffusers/resnet resampling",
    "rosinality/one head",
    "rosinality/affine time, four heads",
]


@pytest.mark.parametrize("key", TRAJECTORIES)
def test_a_trajectory_of_ddim_equals_the_originals(tmp_path, key):
    project, name = key.split("/")
    if project == "diffusers":
        model = load(folder(tmp_path, name))
    else:
        path, overrides = rosinality(tmp_path / "a.pt", name)
        model = load(path, overrides=overrides)
    levels = model.schedule.respaced("ddim10").descending
    label = 4 if model.configuration.num_classes else None
    steps = [step.x for step in ddim(model.denoiser(label), START, levels, None)]
    assert len(steps) == len(DATA[f"{key}/trajectory"]) == 10
    for step, original in zip(steps, DATA[f"{key}/trajectory"]):
        assert (step - torch.from_numpy(original)).abs().max() < 1e-4


@pytest.mark.parametrize("name", ROSINALITY)
def test_a_checkpoint_of_rosinality_gives_its_outputs(tmp_path, name):
    path, overrides = rosinality(tmp_path / "diffusion_1.pt", name)
    assert_equals_the_original(load(path, overrides=overrides), f"rosinality/{name}")


def test_a_checkpoint_of_pesser_gives_its_outputs(tmp_path):
    path = write(tmp_path / "celeba.ckpt", state_dict("pesser", "tiny"))
    model = load(path, overrides={"image_size": 16})
    output = model.network(X[..., :16], torch.tensor([3.0, 871.0]))
    assert (output - torch.from_numpy(DATA["pesser/tiny/output"])).abs().max() < 1e-5


def test_pessers_celeba_hq_is_recognised():
    recognised = recognise(on_meta("pesser", "celeba_hq"))
    assert "celebahq-256" in recognised.published and recognised.assumed == []


def test_a_training_of_accelerate_gives_its_averaged_weights(tmp_path):
    folder(tmp_path, "google", scheduler="unet")
    folder(tmp_path, "training script", unet="unet_ema", scheduler="unet_ema")
    (tmp_path / "model_index.json").unlink()
    for name in ("optimizer.bin", "scheduler.bin", "sampler_1.bin"):
        write(tmp_path / name, {"state": {"weight": torch.zeros(2)}})
    assert_equals_the_original(load(tmp_path), "diffusers/training script")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize(
    "places", [{}, {"unet": ".", "scheduler": "."}, {"unet": "unet_ema"}], ids=str
)
def test_finds_the_model_wherever_it_stands(tmp_path, suffix, places):
    path = folder(tmp_path, "training script", suffix, **places)
    if "unet_ema" in places.values():
        (path / "model_index.json").unlink()
    file = next(path.rglob(f"*{suffix}"))
    for given in {path, file.parent, file}:
        model = load(given)
        assert_equals_the_original(model, "diffusers/training script")
        assert model.schedule.length == 500


def test_takes_one_of_the_same_weights_twice_and_of_a_pipelines_the_unet(tmp_path):
    path = folder(tmp_path, "google")
    write(path / "unet" / "diffusion_pytorch_model.bin", state_dict("diffusers", "google"))
    write(path / "unet" / "diffusion_pytorch_model.fp16.safetensors", {"a": torch.zeros(1)})
    (path / "unet_ema").mkdir()
    write(path / "unet_ema" / "diffusion_pytorch_model.bin", {"a": torch.zeros(1)})
    assert_equals_the_original(load(path), "diffusers/google")


def old_names(state):
    """As diffusers called its attention in 2022."""
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for name, old in new.items():
        state = {key.replace(f".{name}.", f".{old}."): value for key, value in state.items()}
    return state


def convolved(state):
    """With attention by 1 x 1 convolutions."""
    return {
        key: value[..., None, None] if ".to_" in key and value.ndim == 2 else value
        for key, value in state.items()
    }


WRAPPED = {
    "old names": old_names,
    "convolutions": convolved,
    "unet.": lambda state: {f"unet.{key}": value for key, value in state.items()},
    "nested": lambda state: {"epoch": 3, "ema": state},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_a_single_state_dict_needs_no_folder(tmp_path, wrap):
    google = {
        "image_size": 16, "num_head_channels": None, "norm_eps": 1e-6, "sine_first": True,
        "frequency_shift": 1, "asymmetric_downsample": True,
    }  # fmt: skip
    path = write(tmp_path / "a.bin", WRAPPED[wrap](state_dict("diffusers", "google")))
    assert_equals_the_original(load(path, overrides=google), "diffusers/google")


RECOGNISED = {
    "diffusers/google 256": "google/ddpm- and ddpm-ema- celebahq-256, church-256",
    "diffusers/google cifar10": "google/ddpm-cifar10-32",
    "diffusers 0.1.1/google cifar10": "google/ddpm-cifar10-32",
    "rosinality/diffusion.conf": "rosinality/denoising-diffusion-pytorch 256x256 (diffusion.conf",
    "rosinality/improved.conf": "rosinality/denoising-diffusion-pytorch 256x256 (improved.conf",
}


@pytest.mark.parametrize("key", RECOGNISED)
def test_published_models_are_recognised_from_shapes_alone(key):
    recognised = recognise(on_meta(*key.split("/")))
    assert recognised.published.startswith(RECOGNISED[key])
    assert recognised.configuration == PUBLISHED[recognised.published]
    assert recognised.assumed == []


def test_the_table_says_what_the_published_configurations_say():
    cat, cifar = (
        recognise(on_meta("diffusers", name)).configuration
        for name in ("google 256", "google cifar10")
    )
    assert (cat.image_size, cat.attention_rates, cat.num_head_channels) == (256, (16,), None)
    assert (cifar.image_size, cifar.attention_rates, cifar.num_heads) == (32, (2,), 1)
    for google in (cat, cifar):
        assert google.norm_eps == 1e-6 and google.asymmetric_downsample
        assert google.sine_first and google.frequency_shift == 1
        assert google.noise_schedule == "linear" and google.diffusion_steps == 1000
    plain, improved = (
        recognise(on_meta("rosinality", name)).configuration
        for name in ("diffusion.conf", "improved.conf")
    )
    assert (plain.num_heads, plain.noise_schedule, plain.norm_eps) == (1, "linear", 1e-5)
    assert (improved.num_heads, improved.noise_schedule) == (4, "cosine")
    assert (
        cat.network(device="meta").state_dict().keys()
        == plain.network(device="meta").state_dict().keys()
    )


def test_a_config_that_differs_from_the_published_ones_is_not_called_one():
    shapes = on_meta("diffusers", "google 256")
    own = recognise(shapes, {"norm_eps": 1e-5, "image_size": 64})
    assert own.published is None
    assert (own.configuration.norm_eps, own.configuration.image_size) == (1e-5, 64)
    assert recognise(shapes, {"norm_eps": 1e-6}).published.startswith("google/ddpm-")


@pytest.mark.parametrize("name", ["google", "resnet resampling"])
def test_convert_makes_one_file_that_needs_no_folder(tmp_path, name):
    source, target = folder(tmp_path / "source", name), tmp_path / "one.safetensors"
    converted = convert(source, target, {"image_size": 16})
    assert_equals_the_original(load(target), f"diffusers/{name}")
    again = inspect(target)
    assert again.configuration == converted.configuration
    assert again.assumed == []
    assert "time_embed.0.weight" in again.configuration.network(device="meta").state_dict()
    folded = tmp_path / "four.safetensors"
    path, overrides = rosinality(tmp_path / "a.pt", "affine time, four heads")
    convert(path, folded, overrides)
    assert_equals_the_original(load(folded), "rosinality/affine time, four heads")


def test_a_converted_model_is_still_recognised(tmp_path):
    metadata = asdict(PUBLISHED[next(name for name in PUBLISHED if "cifar10-32" in name)])
    network = recognise(on_meta("diffusers", "google cifar10")).configuration.network(device="meta")
    assert "google/ddpm-cifar10-32" in recognise(network.state_dict(), metadata).published


def test_configurations_of_older_files_mean_what_they_meant():
    named = "guided-diffusion ImageNet 64x64"
    new = ("norm_groups", "norm_eps", "sine_first", "frequency_shift", "asymmetric_downsample")
    metadata = asdict(PUBLISHED[named])
    for name in (*new, "beta_range"):
        del metadata[name]
    recognised = recognise(PUBLISHED[named].network(device="meta").state_dict(), metadata)
    assert recognised.configuration == PUBLISHED[named]
    unknown = replace(PUBLISHED[named], model_channels=64)
    metadata["model_channels"] = 64
    recognised = recognise(unknown.network(device="meta").state_dict(), metadata)
    assert recognised.configuration == unknown
    assert recognised.assumed == []


def test_an_unknown_architecture_of_diffusers_has_the_defaults_of_its_class(tmp_path):
    file = write(tmp_path / "a.safetensors", state_dict("diffusers", "training script"))
    recognised = inspect(file)
    assert "num_head_channels = 8" in recognised.assumed
    assert_equals_the_original(
        load(file, overrides={"noise_schedule": "scaled_linear", "beta_range": [0.0005, 0.02],
                              "diffusion_steps": 500}),
        "diffusers/training script",
    )  # fmt: skip


def test_samples_in_the_size_and_the_schedule_of_the_configs(tmp_path):
    settings = LINEAR | {"beta_end": 0.01, "num_train_timesteps": 100}
    path = folder(tmp_path, "google", sample_size=[32, 32])
    write(path / "scheduler" / "scheduler_config.json", settings)
    model = load(path)
    assert model.assumed == []
    assert sample(model, [0], steps=2).shape == (1, 3, 32, 32)
    assert np.allclose(model.schedule.betas, np.linspace(1e-4, 0.01, 100))


@pytest.mark.parametrize("kind, prediction", [("epsilon", "eps"), ("v_prediction", "v")])
def test_what_the_network_predicts_is_read_from_the_schedule(tmp_path, kind, prediction):
    path = folder(tmp_path, "google")
    write(path / "scheduler" / "scheduler_config.json", LINEAR | {"prediction_type": kind})
    assert load(path).configuration.prediction == prediction


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"time_embedding_type": "fourier"}, "time_embedding_type = 'fourier'.*positional is need"),
        ({"act_fn": "gelu"}, "act_fn = 'gelu', which is not supported; silu or swish is needed"),
        ({"class_embed_type": "timestep"}, "class_embed_type = 'timestep'"),
        ({"mid_block_scale_factor": 2}, "mid_block_scale_factor = 2"),
        ({"attn_norm_num_groups": 8}, "attn_norm_num_groups = 8"),
        ({"sample_size": [16, 32]}, r"sample_size = \[16, 32\]"),
        ({"down_block_types": ["SkipDownBlock2D"] * 3}, "down_block_types = 'SkipDownBlock2D'"),
        ({"block_out_channels": 32}, "is no configuration of diffusers' UNet2DModel"),
        ({"norm_eps": "small"}, "its own configuration gives norm_eps = 'small'"),
        ({"layers_per_block": 3}, "does not fit the architecture recognised in it: missing: down_"),
    ],
)
def test_networks_that_differ_are_refused(tmp_path, changes, message):
    path = folder(tmp_path, "google", **changes)
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"prediction_type": "sample"}, "prediction_type = 'sample'.*epsilon or v_prediction is"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule = 'sigmoid'"),
        ({"beta_schedule": None}, "beta_schedule = None"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ({"beta_end": 2.0}, "beta_range = .0.0001, 2.0., which does not fit"),
        ({"num_train_timesteps": 0}, "diffusion_steps = 0"),
    ],
)
def test_diffusions_that_differ_are_refused(tmp_path, changes, message):
    path = folder(tmp_path, "google")
    write(path / "scheduler" / "scheduler_config.json", LINEAR | changes)
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_the_command_line_takes_a_folder(tmp_path, capsys):
    path, one = folder(tmp_path / "google", "google"), tmp_path / "one.safetensors"
    reference = Path(__file__).parents[2] / "ilvr" / "assets" / "references" / "clip-art.png"
    assert main(["inspect", str(path)]) == 0
    assert "norm_eps = 1e-06  (its own configuration)" in capsys.readouterr().out
    assert main(["convert", str(path), str(one)]) == 0
    for model, out in ((path, "a"), (one, "b")):
        options = ["--model", str(model), "--count", "1", "--steps", "2", "--factor", "4"]
        assert main(["sample", str(reference), *options, "--out", str(tmp_path / out)]) == 0
    a, b = (next((tmp_path / out).glob("clip-art-*.png")) for out in "ab")
    assert np.array_equal(np.asarray(open_image(a)), np.asarray(open_image(b)))
    write(path / "model_index.json", {"_class_name": "LDMPipeline", "vqvae": ["diffusers", "VQ"]})
    capsys.readouterr()
    assert main(["inspect", str(path)]) == 2
    said = capsys.readouterr().err
    assert "(LDMPipeline); the U-Net of" in said and said.count("\n") == 1


OTHER = {
    "StableDiffusionPipeline": {"vae": ["diffusers", "AutoencoderKL"]},
    "LDMPipeline": {"unet": ["diffusers", "UNet2DModel"], "vqvae": ["diffusers", "VQModel"]},
    "FluxPipeline": {"transformer": ["diffusers", "FluxTransformer2DModel"]},
    "IFPipeline": {"text_encoder": ["transformers", "T5EncoderModel"]},
}


@pytest.mark.parametrize("name", OTHER)
def test_pipelines_of_another_kind_are_named(tmp_path, name):
    path = folder(tmp_path, "google")
    write(path / "model_index.json", {"_class_name": name} | OTHER[name])
    for given in (path, path / "unet", path / "unet" / "diffusion_pytorch_model.safetensors"):
        with pytest.raises(OtherKind, match=rf"is a .*\({name}\); the U-Net of an uncond") as error:
            load(given)
        assert ("latent diffusion" in error.value.kind) == (name != "IFPipeline")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("UNet2DConditionModel", "latent diffusion model such as Stable Diffusion"),
        ("SD3Transformer2DModel", "latent diffusion model such as Stable Diffusion"),
        ("AutoencoderKL", "VAE"),
        ("ControlNetModel", "ControlNet"),
        ("NCSNpp", "model of another kind"),
        (3, "model of another kind"),
    ],
)
def test_models_of_another_class_are_named(tmp_path, name, kind):
    path = folder(tmp_path, "google", _class_name=name, unet=".")
    (path / "model_index.json").unlink()
    with pytest.raises(OtherKind, match=rf"is a {kind} \({name}\); the U-Net of an uncond"):
        load(path)


def test_a_folder_with_several_models_or_none_is_refused(tmp_path):
    for name in "abcde":
        write(tmp_path / "several" / f"{name}.pt", state_dict("diffusers", "google"))
    with pytest.raises(
        ValueError, match=r"several models: a\.pt, b\.pt, c\.pt and 2 more; give the path of one"
    ):
        load(tmp_path / "several")
    for name in ("church", "cat"):
        folder(tmp_path / "folders" / name, "google", unet=".")
    with pytest.raises(
        ValueError, match=r"several models: cat/diff.*, church/diff.*\.safetensors;"
    ):
        load(tmp_path / "folders")
    (tmp_path / "none" / "within").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"none holds no model; a folder with config\.json beside"):
        load(tmp_path / "none")


def damaged(state, *, without=(), extra=(), cut=()):
    state = {key: value for key, value in state.items() if not key.startswith(tuple(without))}
    state |= {key: torch.zeros(3) for key in extra}
    return state | {key: state[key][:-1] for key in cut}


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"without": ["mid_block.attentions.0.to_k."]},
            r"missing: mid_block\.attentions\.0\.to_k\.bias, mid_block\.attentions\.0\.to_k\.weig",
        ),
        (
            {"without": ["up_blocks.0."]},
            r"missing: up_blocks\.0\.resnets\.0\.conv1\.bias, \S+, \S+ and \d\d more\.$",
        ),
        (
            {"extra": ["d.a.weight", "d.b.weight", "d.c.weight", "d.d.weight", "d.e.weight"]},
            r"unknown: d\.a\.weight, d\.b\.weight, d\.c\.weight and 2 more\.$",
        ),
        (
            {"cut": ["down_blocks.1.attentions.0.to_q.weight"], "extra": ["other"]},
            r"unknown: other; of another shape: down_blocks\.1\.attentions\.0\.to_k\.weight, ",
        ),
        (
            {"without": ["conv_in.weight", "up_blocks.0."]},
            r"missing: conv_in\.weight, up_blocks\.0\.resnets\.0\.conv1\.bias, \S+ and \d\d more",
        ),
    ],
)
def test_missing_and_unknown_keys_are_named_and_counted(tmp_path, changes, message):
    path = folder(tmp_path, "google")
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    write(file, damaged(state_dict("diffusers", "google"), **changes))
    with pytest.raises(ValueError, match=rf"does not fit the architecture .*: {message}"):
        load(path)


@pytest.mark.parametrize("name", [*ROSINALITY])
def test_missing_keys_of_rosinality_have_their_own_names(tmp_path, name):
    state = damaged(state_dict("rosinality", name), without=["mid.0.resblocks.conv1.weight"])
    with pytest.raises(ValueError, match=r"in it: missing: mid\.0\.resblocks\.conv1\.weight\.$"):
        load(write(tmp_path / "a.pt", {"ema": state}))


def test_json_that_is_damaged_is_refused(tmp_path):
    path = folder(tmp_path, "google")
    (path / "unet" / "config.json").write_text('{"_class_name": ')
    with pytest.raises(ValueError, match=r"config\.json is damaged or no JSON; get it again"):
        load(path)


class Harmful:
    def __reduce__(self):
        return (exec, ("import builtins; builtins.ran_in_folder = True",))


class Configured:
    """What rosinality's training puts beside the weights."""


@pytest.mark.parametrize("content", [Harmful, Configured])
def test_objects_in_a_pickle_are_refused_and_never_run(tmp_path, content):
    path = folder(tmp_path, "google", ".bin")
    file = path / "unet" / "diffusion_pytorch_model.bin"
    write(file, {"ema": state_dict("diffusers", "google"), "conf": content()})
    with pytest.raises(ValueError, match=r"could run code, and was not opened; get it as .safete"):
        load(path)
    assert not hasattr(builtins, "ran_in_folder")
