"""The pack as a client of the server meets it: ids, pictures, refusals, mistakes, memory."""

import json
import os
import re
import struct

import pytest
import torch
from torch.nn.functional import interpolate

from ilvr import LowPassFilter
from tests.e2e import graphs
from tests.e2e.graphs import STEPS, anew, node, with_input
from tests.e2e.models import LATENT_VAE, SMALL
from tooling.hosts import ROOT
from tooling.server import PACK, Refused, picture, serving

SCHEMA = ROOT / "tests" / "nodes" / "schema.json"
ALLOWED_GROWTH = 50  # MB
GOOD = graphs.ksampler()


def test_every_node_is_offered(server):
    offered = json.loads(server.get("/object_info"))
    ours = {name: info for name, info in offered.items() if info["category"] == "ILVR"}
    assert set(ours) == set(json.loads(SCHEMA.read_text()))
    assert {info["python_module"] for info in ours.values()} == {f"custom_nodes.{PACK}"}


def test_the_pack_adds_nothing_to_the_hosts_start(server, host, tmp_path):
    with serving(host, tmp_path, pack=False) as bare:
        added = start_of_log(server) - start_of_log(bare)
    times = f". seconds: FILES/custom_nodes/{PACK}"
    assert added == {"Import times for custom nodes:", times}


def start_of_log(server):
    """Its lines until it served, without what differs from start to start."""
    log = server.log().split("To see the GUI")[0].replace(str(server.files), "FILES")
    log = re.sub(r"\x1b\[\d*m|\d+|\[INFO\]", "", log)
    return {line.strip() for line in log.splitlines() if line.strip()}


def test_every_way_of_sampling_gives_the_same_picture(server):
    first, *others = [
        server.pixels(graph())
        for graph in (
            graphs.sampler_custom,
            graphs.sampler_custom_advanced,
            graphs.ksampler,
            graphs.ksampler_advanced,
        )
    ]
    assert first.shape == (2, 3, 64, 64) and not torch.equal(first[0], first[1])
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(
    "graph, unguided",
    [
        (graphs.sampler_custom(), {"sampler": ["7", 0]}),
        (graphs.ksampler(), {"model": ["1", 0]}),
        (graphs.respaced(), {"sampler": ["7", 0]}),
    ],
    ids=["ILVRSampler", "ApplyILVR", "DDPMSampler"],
)
def test_pictures_follow_the_reference(server, graph, unguided):
    graph = graph | {"12": node("SaveImage", images=["3", 0], filename_prefix="reference")}
    run, phi = server.run(graph), LowPassFilter(8)
    wanted = phi(run.pixels("12"))
    assert (phi(run.pixels()) - wanted).abs().max() < 2
    assert (phi(server.pixels(with_input(graph, "9", **unguided))) - wanted).abs().max() > 20


def test_good_graphs_print_nothing(server):
    before = len(server.log())
    for graph in (graphs.sampler_custom(), GOOD, graphs.respaced()):
        server.pixels(anew(graph))
    assert "ilvr" not in server.log()[before:].lower()
    server.pixels(with_input(GOOD, "5", factor=1))
    assert "ILVR: with factor 1 the result is the reference itself." in server.log()[before:]


def test_previews_show_the_picture_that_becomes(server):
    run = server.run(anew(GOOD))
    progress = [data["value"] for data in run.all("progress") if data["node"] == "9"]
    assert progress == list(range(1, STEPS + 1))
    frames = run.all("preview")
    assert [struct.unpack(">II", frame[:8]) for frame in frames] == [(1, 1)] * STEPS  # image, JPEG
    first, *_, last = [interpolate(picture(frame[8:]), (64, 64), mode="area") for frame in frames]
    final = run.pixels()[:1]
    assert (last - final).abs().mean() < 8 < 16 < (first - final).abs().mean()


def test_only_what_changed_runs_again(server):
    graph = anew(graphs.sampler_custom(checkpoint=SMALL, size=16))
    first, again = server.run(graph), server.run(graph)
    assert {"5", "8", "9", "10", "11"} <= first.executed
    assert again.executed == set() and cached(again) == set(graph)
    assert torch.equal(first.pixels(), again.pixels())
    assert server.run(with_input(graph, "9", noise_seed=12)).executed == {"9", "10", "11"}
    os.utime(server.files / "models" / "adm" / SMALL, (0, 0))
    assert "1" in server.run(graph).executed


def cached(run):
    (event,) = run.all("execution_cached")
    return set(event["nodes"])


@pytest.mark.parametrize(
    "key, inputs, kind",
    [
        ("5", {"factor": 0.5}, "value_smaller_than_min"),
        ("5", {"factor": 16385}, "value_bigger_than_max"),
        ("5", {"factor": "eight"}, "invalid_input_type"),
        ("4", {"batch_size": 0}, "value_smaller_than_min"),
        ("1", {"class_label": -2}, "value_smaller_than_min"),
        ("8", {"strength": 1.05}, "value_bigger_than_max"),
        ("8", {"reference": ["5", 0]}, "return_type_mismatch"),
        ("18", {"start": 1001}, "value_bigger_than_max"),
        ("18", {"end": -1}, "value_smaller_than_min"),
    ],
    ids=str,
)
def test_values_out_of_bounds_are_refused(server, key, inputs, kind):
    with pytest.raises(Refused) as refused:
        server.queue(with_input(graphs.respaced(), key, **inputs))
    assert refused.value.status == 400
    error = refused.value.of_node(key)
    assert error["type"] == kind and error["extra_info"]["input_name"] in inputs


@pytest.mark.parametrize(
    "key, inputs, sentence",
    [
        ("5", {"kernel": "gauss"}, "Unknown kernel 'gauss': choose one of cubic, .*box"),
        ("4", {"noise": "pink"}, "Unknown noise 'pink': choose one of fresh, fixed"),
        ("8", {"guide": "both"}, "Unknown guide 'both': choose one of auto, state, prediction"),
        ("7", {"variance": "odd"}, "Unknown variance 'odd': choose one of auto, learned, .*large"),
        ("2", {"name": "moon"}, "Unknown example 'moon': choose one of .*"),
        ("1", {"checkpoint": "moon.pt"}, "There is no checkpoint moon.pt in models/adm any more.*"),
    ],
    ids=str,
)
def test_a_choice_that_is_none_is_refused(server, key, inputs, sentence):
    """By the server, or, where an older one lets it pass, by the node."""
    try:
        run = server.run(with_input(graphs.respaced(), key, **inputs))
    except Refused as refused:
        assert refused.status == 400 and refused.of_node(key)["type"] == "value_not_in_list"
    else:
        assert_says(run, sentence, key)


def assert_says(run, sentence, key):
    """The run ended at this node with this sentence, and nothing but it."""
    assert run.error is not None
    assert run.error["node_id"] == key and run.error["exception_type"] == "ValueError"
    assert re.fullmatch(sentence + r"\.", run.error["exception_message"].strip())


LATENTS = {
    "30": node("VAELoader", vae_name=LATENT_VAE),
    "31": node("VAEEncode", pixels=["3", 0], vae=["30", 0]),
}
MISTAKES = {
    "factor within a latent cell": (
        with_input(GOOD | LATENTS, "4", vae=["30", 0]),
        "8",
        "Factor 8 is no more than the 8 pixels of a latent cell.* factor of 16 or more,.*",
    ),
    "reference of another VAE": (
        with_input(with_input(GOOD | LATENTS, "4", vae=["30", 0]), "5", factor=16),
        "9",
        "The reference has 4 channels and the latent 3;.*",
    ),
    "latent of another VAE": (
        with_input(GOOD | LATENTS, "9", model=["1", 0], latent_image=["31", 0]),
        "9",
        "The latent has 4 channels and this model takes 3;.*",
    ),
    "size that the model has not": (
        with_input(GOOD, "3", width=60),
        "9",
        ".* width and height divide by 8; 60 x 64 does not",
    ),
    "sampler without a state": (
        with_input(with_input(GOOD, "8", guide="state"), "9", sampler_name="uni_pc"),
        "9",
        "uni_pc keeps no state that ILVR could refine; use guide = prediction.*",
    ),
    "strength with guide state": (
        with_input(GOOD, "8", guide="state", strength=0.5),
        "8",
        "strength 0.5 would mix independent noises.*",
    ),
    "range upside down": (
        with_input(graphs.respaced(), "18", start=200, end=500),
        "18",
        "The range is 200 to 500;.*",
    ),
    "respacing": (
        with_input(graphs.respaced(), "6", respacing="many"),
        "6",
        "Respacing 'many' is none of: a count, ddimN, a list of counts a,b,c",
    ),
    "class of a model without": (
        with_input(GOOD, "1", class_label=2),
        "1",
        "This model has no classes; set class_label to -1 instead of 2",
    ),
}


@pytest.mark.parametrize("graph, key, sentence", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(server, graph, key, sentence):
    before = server.pixels(anew(GOOD))
    assert_says(server.run(graph), sentence, key)
    assert same_again(server, before)


def same_again(server, before):
    """Whether the good graph still paints the same, run again with the loaded model."""
    run = server.run(anew(GOOD))
    assert {"8", "9"} <= run.executed
    return torch.equal(run.pixels(), before)


def test_a_picture_far_above_the_trained_size_is_said_on_the_node(server):
    run = server.run(anew(graphs.ksampler(checkpoint=SMALL, size=32)))
    text = "The picture is of 32 x 32 pixels and this model was trained for 16"
    of_node_9 = b"\x00\x00\x00\x019" + text.encode()
    assert any(of_node_9 in frame for frame in run.all("preview")) and text in server.log()


def long_graph():
    return with_input(anew(graphs.sampler_custom()), "6", steps=1000)


def test_interrupt_ends_a_run_and_the_next_one_works(server):
    before = server.pixels(anew(GOOD))
    run = interrupted(server, server.queue(long_graph()))
    (stopped,) = run.all("execution_interrupted")
    assert stopped["node_id"] == "9" and run.all("execution_success") == []
    assert run.all("progress")[-1]["value"] < 1000
    assert same_again(server, before)


def interrupted(server, run):
    """The run to its end, which is asked for at its third step."""
    for event, data in run:
        if event == "progress" and data["value"] == 3:
            server.post("/interrupt")
    return run


def test_a_checkpoint_that_goes_after_queueing_is_one_sentence(server):
    file = server.files / "models" / "adm" / "short-lived.safetensors"
    file.write_bytes((file.parent / SMALL).read_bytes())
    first = server.queue(long_graph())
    second = server.queue(graphs.ksampler(checkpoint=file.name, size=16))
    file.unlink()
    interrupted(server, first)
    sentence = f"There is no checkpoint {file.name} in models/adm any more;.*"
    assert_says(second.wait(), sentence, "1")
    assert server.pixels(anew(GOOD)).shape == (2, 3, 64, 64)


def test_memory_stays_flat_over_200_prompts(server):
    small = {"checkpoint": SMALL, "size": 16}
    kinds = [graphs.sampler_custom(**small), graphs.ksampler(**small)]
    memory = []
    for seed in range(200):
        graph = with_input(anew(kinds[seed % 2]), "6", steps=2)
        name = "noise_seed" if seed % 2 == 0 else "seed"
        server.pixels(with_input(graph, "9", **{name: seed}))
        memory.append(server.memory())
    print(f"{memory[19]:.0f} MB after 20 prompts, {memory[-1]:.0f} MB after 200")
    assert max(memory[20:]) - memory[19] < ALLOWED_GROWTH
