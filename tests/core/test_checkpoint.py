import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ilvr import convert, inspect, load, sample
from ilvr.checkpoint import BUNDLED, PUBLISHED, recognise, save

from .tiny import CONFIGURATIONS, model, state_dict

TINY = CONFIGURATIONS["unconditional"]
HEADS = {"num_head_channels": 16, "image_size": 16}


def write(path, content):
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
    return path


def output(loaded):
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return loaded.denoiser(None)(x, 500)


EXPECTED = output(model(TINY))


def ema_beside_plain(state):
    noise = {name: torch.randn_like(value) for name, value in state.items()}
    return {"step": torch.tensor(7), "model": noise, "ema_model": state, "optimizer": {"lr": 1.0}}


WRAPPED = {
    "plain": lambda state: state,
    "module.": lambda state: {f"module.{name}": value for name, value in state.items()},
    "model.": lambda state: {f"model.{name}": value for name, value in state.items()},
    "ema beside plain": ema_beside_plain,
    "ema prefix": lambda state: (
        {f"model.{name}": value + 1 for name, value in state.items()}
        | {f"ema_model.{name}": value for name, value in state.items()}
    ),
    "state_dict": lambda state: {"epoch": 1, "state_dict": state},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_loads_every_container(tmp_path, wrap):
    content = WRAPPED[wrap](state_dict(TINY))
    flat = all(isinstance(value, torch.Tensor) for value in content.values())
    for suffix in (".pt", ".pth", *[".safetensors"] * flat):
        loaded = load(write(tmp_path / f"a{suffix}", content), overrides=HEADS)
        assert torch.equal(output(loaded), EXPECTED)


def test_loads_the_old_format_of_torch_save(tmp_path):
    torch.save(state_dict(TINY), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(output(load(tmp_path / "old.pt", overrides=HEADS)), EXPECTED)


ADM = [name for name in PUBLISHED if not name.startswith(("google/", "rosinality/"))]


@pytest.mark.parametrize("name", ADM)
def test_published_models_are_recognised_from_shapes_alone(name):
    wanted = PUBLISHED[name]
    recognised = recognise(wanted.network(device="meta").state_dict())
    assert recognised.configuration == wanted
    assert recognised.published == name
    assert "assumed" not in recognised.sources.values()


def test_the_table_says_what_the_readmes_of_the_models_say():
    by_name = {name.split(" (")[0]: value for name, value in PUBLISHED.items()}
    imagenet64 = by_name["guided-diffusion ImageNet 64x64"]
    assert (imagenet64.noise_schedule, imagenet64.use_new_attention_order) == ("cosine", True)
    cifar = by_name["improved-diffusion CIFAR-10 32x32"]
    assert (cifar.diffusion_steps, cifar.rescale_timesteps, cifar.num_heads) == (4000, True, 4)
    faces = by_name["ILVR and P2-weighting 256x256"]
    assert (faces.model_channels, faces.attention_rates, faces.num_head_channels) == (
        128,
        (16,),
        64,
    )
    assert sum(p.numel() for p in faces.network(device="meta").parameters()) == 93_563_910


def test_an_unknown_layout_says_what_was_read_and_what_assumed():
    text = recognise(state_dict(TINY)).describe()
    assert "not one of the published layouts" in text
    assert "channel_mult = 1 2 2  (read from the weights)" in text
    assert "noise_schedule = linear  (assumed)" in text


def test_every_value_can_be_overridden():
    state = state_dict(TINY)
    recognised = recognise(
        state, overrides={"noise_schedule": "cosine", "diffusion_steps": 4000, "num_heads": 2}
    )
    assert recognised.configuration.noise_schedule == "cosine"
    assert recognised.configuration.schedule().length == 4000
    assert recognised.sources["num_heads"] == "override"


@pytest.mark.parametrize(
    "overrides, message",
    [
        ({"num_channels": 3}, "names 'num_channels'; known are model_channels"),
        ({"noise_schedule": "square"}, "noise_schedule = 'square'"),
        ({"diffusion_steps": 0}, "diffusion_steps = 0"),
        ({"num_heads": True}, "num_heads = True"),
        ({"model_channels": 64}, "does not fit the architecture"),
        ({"num_head_channels": None, "num_heads": 5}, "do not divide into heads"),
    ],
)
def test_overrides_that_do_not_fit_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        recognise(state_dict(TINY), overrides=overrides)


def test_timesteps_of_a_rescaled_model_run_to_1000():
    state = state_dict(TINY)
    x = torch.zeros(2, 3, 16, 16)
    for rescale, top in ((False, 3999), (True, 999.75)):
        values = {"diffusion_steps": 4000, "rescale_timesteps": rescale}
        tiny = model(recognise(state, overrides=values | HEADS).configuration)
        assert tiny.timesteps(1000, x).tolist() == [top, top]
        assert tiny.timesteps(0.25, x).tolist() == [0, 0]


def test_convert_keeps_weights_and_writes_the_configuration(tmp_path):
    source = write(tmp_path / "a.pt", {"ema": state_dict(TINY)})
    convert(source, tmp_path / "a.safetensors", HEADS | {"noise_schedule": "cosine"})
    recognised = inspect(tmp_path / "a.safetensors")
    assert recognised.configuration.noise_schedule == "cosine"
    assert recognised.sources["num_head_channels"] == "its own configuration"
    assert torch.equal(
        load_file(tmp_path / "a.safetensors")["out.2.bias"], state_dict(TINY)["out.2.bias"]
    )
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.pt", "a.safetensors"]


class Harmful:
    def __reduce__(self):
        return (exec, ("import builtins; builtins.ran = True",))


def other_kind(*names):
    return {name: torch.zeros(2, 2) for name in names}


DAMAGED = {
    "missing.pt": (None, "there is no such checkpoint"),
    "code.pt": (pickle.dumps({"a": Harmful()}, protocol=2), "could run code, and was not opened"),
    "text.pt": (b"not a checkpoint at all", "truncated or no PyTorch checkpoint"),
    "empty.pt": (b"", "truncated or no PyTorch checkpoint"),
    "text.safetensors": (b"not a checkpoint at all", "truncated or no safetensors"),
    "lora.safetensors": (other_kind("unet.lora_up.weight"), "is a LoRA"),
    "sd.safetensors": (
        other_kind(
            "model.diffusion_model.time_embed.0.weight",
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.norm1.weight",
        ),
        "is a latent diffusion model such as Stable Diffusion",
    ),
    "classifier.pt": (other_kind("time_embed.0.weight", "out.0.weight"), "is a classifier"),
    "other.pt": (other_kind("fc.weight"), "no diffusion model of a known kind"),
    "list.pt": ([1, 2], "holds no weights"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_files_that_are_no_adm_checkpoint_get_one_sentence(tmp_path, name):
    content, message = DAMAGED[name]
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write(path, content)
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_code_in_a_pickle_never_runs(tmp_path):
    import builtins

    torch.save({"a": Harmful()}, tmp_path / "zip.pt")
    with pytest.raises(ValueError, match="could run code"):
        load(tmp_path / "zip.pt")
    assert not hasattr(builtins, "ran")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.999])
def test_truncated_files_are_refused(tmp_path, suffix, part):
    path = write(tmp_path / f"a{suffix}", state_dict(TINY))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(ValueError, match="truncated"):
        load(path)


def test_missing_weights_and_weights_that_are_not_finite_are_refused(tmp_path):
    state = state_dict(TINY)
    state["out.0.weight"][3] = float("nan")
    with pytest.raises(ValueError, match=r"out\.0\.weight has values that are not finite"):
        load(write(tmp_path / "nan.pt", state), overrides=HEADS)
    del state["out.0.weight"]
    with pytest.raises(ValueError, match=r"recognised in it: missing: out\.0\.weight\.$"):
        load(write(tmp_path / "less.pt", state), overrides=HEADS)
    half = {name: value for name, value in state.items() if not name.startswith("middle")}
    with pytest.raises(ValueError, match="damaged or of an architecture"):
        load(write(tmp_path / "half.pt", half))


def test_convert_refuses_another_ending_and_a_folder_that_is_not_there(tmp_path):
    source = write(tmp_path / "a.pt", state_dict(TINY))
    with pytest.raises(ValueError, match=r"convert writes \.safetensors"):
        convert(source, tmp_path / "a.ckpt", HEADS)
    with pytest.raises(ValueError, match="could not be written"):
        convert(source, tmp_path / "no" / "a.safetensors", HEADS)


def test_metadata_that_is_no_configuration_is_refused(tmp_path):
    save_file(state_dict(TINY), tmp_path / "a.safetensors", {"config": json.dumps({"colour": 3})})
    with pytest.raises(ValueError, match="names 'colour'"):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close(tmp_path, dtype):
    path = write(tmp_path / "a.pt", state_dict(TINY))
    loaded = load(path, dtype=dtype, overrides=HEADS)
    assert loaded.network.out[2].weight.dtype == dtype
    difference = output(loaded) - EXPECTED
    assert output(loaded).dtype == torch.float32
    assert 0 < difference.abs().max() < 0.1


def test_the_bundled_model_is_an_ordinary_small_checkpoint():
    assert BUNDLED["landscapes-64"].stat().st_size <= 12e6
    assert {value.dtype for value in load_file(BUNDLED["landscapes-64"]).values()} == {
        torch.float16
    }
    bundled = load("landscapes-64")
    assert bundled.configuration.image_size == 64
    assert bundled.configuration.learn_sigma
    assert sample(bundled, [0], steps=2).shape == (1, 3, 64, 64)


def test_a_model_of_super_resolution_is_refused(tmp_path):
    configuration = replace(CONFIGURATIONS["fixed_variance"], in_channels=6)
    save(state_dict(configuration), configuration, tmp_path / "up.safetensors")
    with pytest.raises(
        ValueError, match=r"up\.safetensors: it takes 6 channels, as models of super"
    ):
        load(tmp_path / "up.safetensors")
