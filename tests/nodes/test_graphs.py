"""Whole graphs through the host's own executor, on the bundled model."""

import pytest
import torch

from nodes import NODE_CLASS_MAPPINGS

from .host import core, run_graph

MODEL = {
    "class_type": "LoadUnconditionalModel",
    "inputs": {"checkpoint": "landscapes-64.safetensors"},
}
KEEP = []


class KeepResult:
    """An output node that hands its input to the test."""

    CATEGORY, FUNCTION, OUTPUT_NODE, RETURN_TYPES = "test", "keep", True, ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("*", {})}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    @classmethod
    def IS_CHANGED(cls, **kwargs):
        return float("nan")

    def keep(self, value):
        KEEP.append(value)
        return ()


NODE_CLASS_MAPPINGS["KeepResult"] = KeepResult


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def guided_graph(name="render-lake", **reference):
    """The nodes up to reference (4, 0), latent (4, 1), low_pass (5, 0), noise levels (6, 0)."""
    return {
        "1": MODEL,
        "2": node("ExampleReference", name=name),
        "4": node(
            "NoisedReference",
            image=["2", 0],
            vae=["1", 2],
            noise="fresh",
            batch_size=2,
            **reference,
        ),
        "5": node("LowPassFilter", factor=8, kernel="cubic", exact=True),
        "6": node("BasicScheduler", model=["1", 0], scheduler="karras", steps=6, denoise=1.0),
    }


CUSTOM = {
    "add_noise": True,
    "noise_seed": 3,
    "cfg": 1.0,
    "positive": ["1", 1],
    "negative": ["1", 1],
}


def by_sampler_node(sampler="dpmpp_2m", **reference):
    return guided_graph(**reference) | {
        "7": node("KSamplerSelect", sampler_name=sampler),
        "8": node("ILVRSampler", sampler=["7", 0], reference=["4", 0], low_pass=["5", 0]),
        "9": node(
            "SamplerCustom", model=["1", 0], sampler=["8", 0], sigmas=["6", 0],
            latent_image=["4", 1], **CUSTOM,
        ),
    }  # fmt: skip


def by_model_patch(sampler="dpmpp_2m"):
    return guided_graph() | {
        "8": node("ApplyILVR", model=["1", 0], reference=["4", 0], low_pass=["5", 0]),
        "9": node(
            "KSampler", model=["8", 0], seed=3, steps=6, cfg=1.0, sampler_name=sampler,
            scheduler="karras", positive=["1", 1], negative=["1", 1], latent_image=["4", 1],
            denoise=1.0,
        ),
    }  # fmt: skip


def result(graph, source=("9", 0)):
    KEEP.clear()
    run_graph(graph | {"keep": node("KeepResult", value=list(source))})
    return KEEP[-1]


def example(name="render-lake"):
    return result(guided_graph(name), ("2", 0)).movedim(-1, 1) * 2 - 1


def test_images_follow_the_reference_and_differ_among_themselves():
    samples = result(by_sampler_node())["samples"]
    phi = core.LowPassFilter(8)
    assert (phi(samples) - phi(example())).abs().max() < 1e-4
    assert samples.shape == (2, 3, 64, 64) and samples.abs().max() < 2
    assert (samples[0] - samples[1]).abs().mean() > 0.01


def test_apply_ilvr_gives_the_same_pixels_as_the_sampler_node():
    for sampler in ("euler", "dpmpp_2m", "euler_ancestral", "heun"):
        a, b = result(by_sampler_node(sampler)), result(by_model_patch(sampler))
        assert torch.equal(a["samples"], b["samples"])


def test_chains_of_either_node_give_the_same_pixels():
    more = {
        "12": node("ExampleReference", name="render-sunset"),
        "14": node("NoisedReference", image=["12", 0], vae=["1", 2], noise="fixed", batch_size=1),
        "15": node("LowPassFilter", factor=16, kernel="box", exact=False),
    }
    again = {"reference": ["14", 0], "low_pass": ["15", 0]}
    a, b = by_sampler_node() | more, by_model_patch() | more
    a["18"] = node("ILVRSampler", sampler=["8", 0], **again)
    a["9"]["inputs"]["sampler"] = ["18", 0]
    b["18"] = node("ApplyILVR", model=["8", 0], **again)
    b["9"]["inputs"]["model"] = ["18", 0]
    chained = result(a)["samples"]
    assert torch.equal(chained, result(b)["samples"])
    assert not torch.equal(chained, result(by_sampler_node())["samples"])


def test_pictures_come_out_of_the_vae_and_the_filter_shows_its_image():
    graph = by_sampler_node() | {
        "10": node("VAEDecode", samples=["9", 0], vae=["1", 2]),
        "11": node("SaveImage", images=["10", 0], filename_prefix="ilvr"),
    }
    graph["5"]["inputs"]["image"] = ["2", 0]
    outputs, _ = run_graph(graph)
    assert len(outputs["11"]["images"]) == 2 and len(outputs["5"]["images"]) == 1


def test_halves_by_ksampler_advanced_equal_the_whole():
    steps = {"steps": 6, "cfg": 1.0, "sampler_name": "euler", "scheduler": "karras"}
    conditions = {"positive": ["1", 1], "negative": ["1", 1]}
    graph = by_model_patch("euler") | {"seed": node("PrimitiveInt", value=5)}
    graph["4"]["inputs"]["seed"] = ["seed", 0]
    whole = result(graph)["samples"]
    graph["20"] = node(
        "KSamplerAdvanced", model=["8", 0], add_noise="enable", noise_seed=3, **steps,
        **conditions, latent_image=["4", 1], start_at_step=0, end_at_step=3,
        return_with_leftover_noise="enable",
    )  # fmt: skip
    graph["21"] = node(
        "KSamplerAdvanced", model=["8", 0], add_noise="disable", noise_seed=0, **steps,
        **conditions, latent_image=["20", 0], start_at_step=3, end_at_step=10000,
        return_with_leftover_noise="disable",
    )  # fmt: skip
    assert (result(graph, ("21", 0))["samples"] - whole).abs().max() < 1e-5


def test_apply_low_pass_splits_an_image_in_two():
    graph = guided_graph() | {"7": node("ApplyLowPass", image=["2", 0], low_pass=["5", 0])}
    low, high = result(graph, ("7", 0)), result(graph, ("7", 1))
    image = result(graph, ("2", 0))
    assert (low + high - 0.5 - image).abs().max() < 1e-6
    phi = core.LowPassFilter(8)
    assert (phi(image.movedim(-1, 1)) - low.movedim(-1, 1)).abs().max() < 1e-6


def test_inputs_and_cached_outputs_are_left_as_they_were():
    graph = by_sampler_node()
    image, latent = result(graph, ("2", 0)), result(graph, ("4", 1))
    reference = result(graph, ("4", 0))
    before = [t.clone() for t in (image, latent["samples"], reference.samples)]
    first = result(graph)["samples"]
    assert all(map(torch.equal, before, (image, latent["samples"], reference.samples)))
    assert torch.equal(first, result(graph)["samples"])


def matching(name="render-lake", **more):
    return {
        "1": node("ExampleReference", name="render-meadow"),
        "2": node("ExampleReference", name=name),
        "3": node("LowPassFilter", factor=8, kernel="cubic", exact=True),
        "4": node(
            "MatchLowFrequencies", image=["1", 0], reference=["2", 0], low_pass=["3", 0], **more
        ),
    }


def saved(image):
    """As SaveImage writes it."""
    return torch.from_numpy((255.0 * image.numpy()).clip(0, 255).astype("uint8")).movedim(-1, 1)


def test_match_low_frequencies_is_exact_in_a_saved_picture():
    graph, phi = matching(), core.LowPassFilter(8)
    matched, reference = (saved(result(graph, (key, 0))) / 255 for key in "42")
    assert (phi.down(matched) - phi.down(reference)).square().mean().log10() * -10 > 55
    assert not torch.equal(matched, reference)


def test_match_low_frequencies_takes_sizes_batches_masks_and_alpha():
    phi = core.LowPassFilter(8)
    match = NODE_CLASS_MAPPINGS["MatchLowFrequencies"].EXECUTE_NORMALIZED
    frames = torch.rand(3, 64, 64, 4) * 0.2 + 0.4
    references = torch.rand(2, 128, 128, 3) * 0.2 + 0.4
    mask = torch.zeros(1, 32, 32)
    mask[..., 16:] = 1
    matched = match(image=frames, reference=references, low_pass=phi, mask=mask)[0]
    assert matched.shape == frames.shape and torch.equal(matched[..., 3:], frames[..., 3:])
    assert (matched - frames)[:, :, :32].abs().max() <= 0.5 / 255 + 1e-6
    alone = match(image=frames[2:], reference=references[:1], low_pass=phi, mask=mask)[0]
    assert torch.equal(matched[2:], alone)


def test_match_low_frequencies_refuses_another_shape():
    match = NODE_CLASS_MAPPINGS["MatchLowFrequencies"].EXECUTE_NORMALIZED
    with pytest.raises(ValueError, match="80 x 64 pixels and the image 64 x 64; crop"):
        match(
            image=torch.rand(1, 64, 64, 3),
            reference=torch.rand(1, 64, 80, 3),
            low_pass=core.LowPassFilter(8),
        )
