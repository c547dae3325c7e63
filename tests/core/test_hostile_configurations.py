"""Configurations, wherever they stand, with values that no model has."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from ilvr import Configuration, NoiseSchedule, inspect, load
from ilvr.checkpoint import recognise
from ilvr.cli import main
from ilvr.model import kinds

from .test_hostile_checkpoints import refused
from .test_layouts import LINEAR, config, folder, write
from .test_layouts import state_dict as of_layout
from .tiny import CONFIGURATIONS, state_dict

TINY = CONFIGURATIONS["unconditional"]
ABSURD = [None, True, "a", "", -1, 0, 1.5, 10**9, 10**400, float("nan"), float("inf"), [], {}, [[]]]
ABSURD += [["a", "b"], [None], [1] * 10**5, [float("nan")] * 2]
BAD = [  # values that are of no kind
    (name, value) for name, kind in kinds().items() for value in ABSURD
    if not kind.fits(tuple(value) if isinstance(value, list) else value)
]  # fmt: skip


def test_every_kind_refuses_most_of_them():
    assert {name for name, _ in BAD} == set(kinds()) and len(BAD) > 14 * len(kinds())


@pytest.fixture(scope="module")
def state():
    return state_dict(TINY)


@pytest.fixture(scope="module")
def google(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("google"), "google")


@pytest.mark.parametrize("name", kinds())
def test_values_of_no_kind_are_refused_in_one_sentence(name):
    shapes = TINY.network(device="meta").state_dict()
    for value in [value for own, value in BAD if own == name]:
        for source, given in (("its own configuration", "metadata"), ("override", "overrides")):
            with pytest.raises(ValueError, match=f"{source} gives {name} = ") as error:
                recognise(shapes, **{given: {name: value}})
            assert "\n" not in str(error.value) and len(str(error.value)) < 300
        with pytest.raises(ValueError, match=f"{name} = .*, which does not fit: "):
            Configuration(**{**vars(TINY), name: value})


OWN = {
    "attention_resolutions": {"image_size": 16, "attention_resolutions": None},
    "attention_rates": {"image_size": 16, "attention_resolutions": [32]},
    "beta_range": {"beta_range": ["a", "b"]},
    "betas run from": {"beta_range": [0.999999, 0.999999]},
    "image_size": {"image_size": 15},
    "attention_resolutions = \\[0": {"image_size": 16, "attention_resolutions": [0]},
    "image_size = 'big'": {"image_size": "big", "attention_resolutions": [8]},
}


@pytest.mark.parametrize("message", OWN)
def test_values_that_do_not_go_together_are_refused(tmp_path, message, state):
    save_file(state, tmp_path / "a.safetensors", {"config": json.dumps(OWN[message])})
    refused(tmp_path / "a.safetensors", message)


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("text", ["[]", "3", "null", '"a"', DEEP, "", "{", '{"a": ' * 5000])
def test_metadata_that_is_no_object_is_refused(tmp_path, text, state):
    save_file(state, tmp_path / "a.safetensors", {"config": text})
    refused(tmp_path / "a.safetensors", "no JSON object|truncated or no safetensors")


@pytest.mark.parametrize("value", [DEEP, "9" * 5000, "1e999", "NaN", "[1,", "\x1b[31m", "{}"])
def test_overrides_of_the_command_line_are_refused(tmp_path, capsys, value, state):
    torch.save(state, tmp_path / "a.pt")
    assert main(["inspect", str(tmp_path / "a.pt"), "--set", f"num_heads={value}"]) == 2
    said = capsys.readouterr().err
    assert "override gives num_heads = " in said and said.count("\n") == 1 and len(said) < 500
    assert "\x1b" not in said


FILES = ("unet/config.json", "scheduler/scheduler_config.json", "model_index.json")


@pytest.mark.parametrize("name", FILES)
def test_files_beside_a_model_that_are_no_json_objects_are_refused(tmp_path, name):
    path = folder(tmp_path, "google")
    write(path / "scheduler" / "scheduler_config.json", LINEAR)
    assert inspect(path).configuration.diffusion_steps == 1000
    for content in (b"[]", b"3", b"\xff\xfe", DEEP.encode(), b"{", b" " * (2 << 20)):
        (path / name).write_bytes(content)
        with pytest.raises(ValueError, match="is damaged or no JSON; get it again"):
            inspect(path)
    (path / name).unlink()
    (path / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is damaged or no JSON; get it again"):
        inspect(path)
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(ValueError, match="is damaged or no JSON; get it again"):
        inspect(path)


KEYS = ("block_out_channels", "down_block_types", "sample_size", "in_channels", "out_channels",
        "layers_per_block", "norm_num_groups", "norm_eps", "attention_head_dim", "freq_shift",
        "flip_sin_to_cos", "downsample_type", "resnet_time_scale_shift", "act_fn",
        "num_class_embeds", "downsample_padding", "_class_name")  # fmt: skip
FINE = {"sample_size": [None, 1024], "attention_head_dim": [None], "num_class_embeds": [None],
        "_class_name": [None], "freq_shift": [0], "flip_sin_to_cos": [True],
        "downsample_padding": [True, 0]}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_values_of_diffusers_configurations_are_refused(google, name):
    for value in ABSURD:
        if value not in FINE.get(name, ()):
            write(google / "unet" / "config.json", config("google", **{name: value}))
            with pytest.raises(ValueError) as error:
                inspect(google)
            assert "\n" not in str(error.value) and len(str(error.value)) < 700, value


@pytest.mark.parametrize(
    "name", ["num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type"]
)
def test_values_of_schedules_are_refused(google, name):
    write(google / "unet" / "config.json", config("google"))
    for value in ABSURD:
        write(google / "scheduler" / "scheduler_config.json", LINEAR | {name: value})
        with pytest.raises(ValueError) as error:
            inspect(google)
        assert "\n" not in str(error.value) and len(str(error.value)) < 700


@pytest.mark.parametrize(
    "key",
    ["input_blocks.{}.0.in_layers.0.weight", "output_blocks.{}.0.in_layers.0.weight",
     "output_blocks.{}.1.conv.weight"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["1000000000", "9" * 5000, "٣", "0999"])
def test_absurd_places_of_layers_are_unknown_keys(tmp_path, key, place, state):
    save_file(state | {key.format(place): torch.ones(1)}, tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", "unknown: |num_res_blocks = |missing|damaged")


@pytest.mark.parametrize("name", ["diffusers", "rosinality", "pesser"])
@pytest.mark.parametrize("place", ["1000000000", "900"])
def test_absurd_places_in_other_layouts_are_unknown_keys(tmp_path, name, place):
    probe = {"diffusers": "time_embedding.linear_1.weight", "rosinality": "time.3.weight"}
    own = {"diffusers": "down_blocks.{}.resnets.{}.norm1.weight", "rosinality": "down.{}.a"}
    key = own.get(name, "down.{}.block.{}.norm1.weight").format(place, place)
    state = {probe.get(name, "temb.dense.0.weight"): torch.ones(2, 2), key: torch.ones(1)}
    save_file(state, tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", "damaged|does not fit", use=inspect)


def test_queries_that_do_not_fit_their_keys_are_damage(google):
    write(google / "unet" / "config.json", config("google"))
    write(google / "scheduler" / "scheduler_config.json", LINEAR)
    state = of_layout("diffusers", "google")
    name = next(name for name in state if name.endswith("to_q.weight"))
    for shape in ((), (3,), (2, 5)):
        file = google / "unet" / "diffusion_pytorch_model.safetensors"
        save_file(state | {name: torch.ones(shape)}, file)
        with pytest.raises(ValueError, match="do not fit each other; it is damaged"):
            load(google)


@pytest.mark.parametrize("length", [2, 3, 5, 7, 10, 19, 20])
def test_a_schedule_without_signal_at_its_end_is_refused(length):
    with pytest.raises(ValueError, match=f"leave some signal after their {length} steps"):
        NoiseSchedule.linear(length)
    with pytest.raises(ValueError, match="The betas run from"):
        NoiseSchedule([0.5] * 2000)
    with pytest.raises(ValueError, match="The betas run from"):
        NoiseSchedule([1.5, 1.5])
    assert NoiseSchedule.linear(21).abar[-1] > 0
    assert NoiseSchedule.linear(20, (0.1, 0.9)).abar[-1] > 0
