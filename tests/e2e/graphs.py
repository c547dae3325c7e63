"""Graphs of the pack's nodes, as the browser sends them: {id: {class_type, inputs}}."""

import itertools

SEED, STEPS = 3, 4
COUNT = itertools.count(1)


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def guides(checkpoint="landscapes-64.safetensors", size=64):
    """The nodes up to model (1, 0), conditioning (1, 1), VAE (1, 2), reference (4, 0), latent
    (4, 1), low_pass (5, 0) and sigmas (6, 0)."""
    return {
        "1": node("LoadUnconditionalModel", checkpoint=checkpoint),
        "2": node("ExampleReference", name="render-lake"),
        "3": node(
            "ImageScale", image=["2", 0], upscale_method="area", width=size, height=size,
            crop="disabled",
        ),
        "4": node(
            "NoisedReference", image=["3", 0], vae=["1", 2], noise="fresh", batch_size=2,
        ),
        "5": node("LowPassFilter", factor=8, kernel="cubic", exact=True),
        "6": node("BasicScheduler", model=["1", 0], scheduler="karras", steps=STEPS, denoise=1.0),
    }  # fmt: skip


def saved(graph):
    """The graph with the latent of its node 9 as PNGs."""
    return graph | {
        "10": node("VAEDecode", samples=["9", 0], vae=["1", 2]),
        "11": node("SaveImage", images=["10", 0], filename_prefix="ilvr"),
    }


def anew(graph):
    """The same graph for the eye, but with nothing cached from the filter on."""
    shown = node("EmptyImage", width=64 + next(COUNT), height=64, batch_size=1, color=0)
    filtering = {**graph["5"], "inputs": {**graph["5"]["inputs"], "image": ["shown", 0]}}
    return graph | {"5": filtering, "shown": shown}


def with_input(graph, key, **inputs):
    """The graph with other inputs of one node."""
    return graph | {key: {**graph[key], "inputs": {**graph[key]["inputs"], **inputs}}}


CONDITIONS = {"positive": ["1", 1], "negative": ["1", 1], "cfg": 1.0}
STEPPING = {"steps": STEPS, "sampler_name": "euler", "scheduler": "karras"}


def sampler_custom(**model):
    return saved(guides(**model) | _guided_sampler() | {
        "9": node(
            "SamplerCustom", model=["1", 0], add_noise=True, noise_seed=SEED, **CONDITIONS,
            sampler=["8", 0], sigmas=["6", 0], latent_image=["4", 1],
        ),
    })  # fmt: skip


def sampler_custom_advanced(**model):
    return saved(guides(**model) | _guided_sampler() | {
        "20": node("BasicGuider", model=["1", 0], conditioning=["1", 1]),
        "21": node("RandomNoise", noise_seed=SEED),
        "9": node(
            "SamplerCustomAdvanced", noise=["21", 0], guider=["20", 0], sampler=["8", 0],
            sigmas=["6", 0], latent_image=["4", 1],
        ),
    })  # fmt: skip


def ksampler(**model):
    return saved(guides(**model) | _guided_model() | {
        "9": node(
            "KSampler", model=["8", 0], seed=SEED, **STEPPING, **CONDITIONS,
            latent_image=["4", 1], denoise=1.0,
        ),
    })  # fmt: skip


def img2img(factor=None):
    """ComfyUI's image to image on the bundled model; with the two nodes, if a factor is given."""
    graph = saved({
        "1": node("LoadUnconditionalModel", checkpoint="landscapes-64.safetensors"),
        "2": node("ExampleReference", name="clip-art", size=64),
        "4": node("VAEEncode", pixels=["2", 0], vae=["1", 2]),
        "9": node(
            "KSampler", model=["1", 0], seed=SEED, **STEPPING, **CONDITIONS,
            latent_image=["4", 0], denoise=0.8,
        ),
    })  # fmt: skip
    if factor is None:
        return graph
    two = {
        "5": node("LowPassFilter", factor=factor, kernel="cubic", exact=True),
        "8": node("ApplyILVR", model=["1", 0], low_pass=["5", 0]),
    }
    return with_input(graph | two, "9", model=["8", 0])


def ksampler_advanced(**model):
    return saved(guides(**model) | _guided_model() | {
        "9": node(
            "KSamplerAdvanced", model=["8", 0], add_noise="enable", noise_seed=SEED, **STEPPING,
            **CONDITIONS, latent_image=["4", 1], start_at_step=0, end_at_step=10000,
            return_with_leftover_noise="disable",
        ),
    })  # fmt: skip


def respaced():
    """The paper's own sampling: DDPM on a respaced schedule, within a range."""
    return sampler_custom() | {
        "6": node("RespacedScheduler", model=["1", 0], respacing="8"),
        "7": node("DDPMSampler", variance="auto"),
        "18": node("ConditioningRange", start=1000, end=0),
        "8": node(
            "ILVRSampler", sampler=["7", 0], reference=["4", 0], low_pass=["5", 0],
            range=["18", 0], guide="state", strength=1.0,
        ),
    }  # fmt: skip


def _guided_sampler():
    return {
        "7": node("KSamplerSelect", sampler_name="euler"),
        "8": node("ILVRSampler", sampler=["7", 0], reference=["4", 0], low_pass=["5", 0]),
    }


def _guided_model():
    return {"8": node("ApplyILVR", model=["1", 0], reference=["4", 0], low_pass=["5", 0])}
