"""What the nodes cost in a real host: `python -m benchmarks.overhead`.

What ApplyILVR adds to a step of the host's KSampler, timed inside whole runs so that the machine's
noise cancels, over the time of the step without it; and what loading the pack adds to start-up.
"""

import contextlib
import sys
import time
from collections import Counter

import torch

from tooling.hosts import ROOT
from tooling.in_host import run, start

PARTS = {  # in the order of the table's columns
    "everything": [
        ("nodes.host.run", "GuidedRun", "__init__"),
        ("ilvr.guidance", "Refinement", "state"),
        ("ilvr.guidance", "Refinement", "finished"),
    ],
    "the reference's noise": [("ilvr.reference", "NoisedReference", "noised")],
    "the filter": [("ilvr.low_pass", "LowPassFilter", "__call__")],
}
SD15 = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2], "channel_mult": [1, 2, 4, 4], "num_heads": 8,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "context_dim": 768,
    "use_linear_in_transformer": False, "adm_in_channels": None, "use_temporal_attention": False,
    "use_spatial_transformer": True, "legacy": False,
}  # fmt: skip


def inside():
    before = time.perf_counter()
    loading = start(ROOT / "output" / "overhead" / "host")
    print(f"Loading the pack: {1000 * loading:.0f} ms of {time.perf_counter() - before:.0f} s.")
    print("| model | a step, s | ApplyILVR adds | of it the reference's noise | the filter |")
    print("|---|---|---|---|---|")
    with torch.inference_mode():
        report("bundled, 64x64", *bundled(), steps=40)
        report("SD1.5-sized, 64x64 latents", *stable_diffusion(), steps=3)


def report(name, model, reference, condition, latent, steps):
    import nodes

    low_pass = node("LowPassFilter", 32, "cubic", True)[0]
    guided = node("ApplyILVR", model, low_pass, reference)[0]
    seconds = Counter()
    settings = (1.0, "euler", "normal", condition, condition, latent)
    nodes.common_ksampler(guided, 0, 2, *settings)
    with timed(seconds):
        begin = time.perf_counter()
        nodes.common_ksampler(guided, 0, steps, *settings)
        total = time.perf_counter() - begin
    step = (total - seconds["everything"]) / steps
    shares = [f"{100 * seconds[part] / steps / step:.2f} %" for part in PARTS]
    print(f"| {name} | {step:.2f} | {' | '.join(shares)} |", flush=True)


@contextlib.contextmanager
def timed(seconds):
    """Adds up the seconds spent in each of PARTS."""
    package = str(ROOT).replace(".", "_x_")
    with contextlib.ExitStack() as stack:
        for part, methods in PARTS.items():
            for module, owner, name in methods:
                owner = getattr(sys.modules[f"{package}.{module}"], owner)
                stack.enter_context(timing(owner, name, part, seconds))
        yield


@contextlib.contextmanager
def timing(owner, name, part, seconds):
    method = getattr(owner, name)

    def measured(*args, **kwargs):
        begin = time.perf_counter()
        out = method(*args, **kwargs)
        seconds[part] += time.perf_counter() - begin
        return out

    setattr(owner, name, measured)
    yield
    setattr(owner, name, method)


def bundled():
    model, condition, vae = node("LoadUnconditionalModel", "landscapes-64.safetensors")
    reference, latent = node("NoisedReference", torch.rand(1, 64, 64, 3), vae, "fresh", 1)
    return model, reference, condition, latent


def stable_diffusion():
    """The network of SD1.5 with random weights, and a reference as a VAE of its kind gives it."""
    import comfy.model_patcher
    import comfy.supported_models
    import comfy.taesd.taesd

    config = comfy.supported_models.SD15(SD15 | {"dtype": torch.float32})
    model = config.get_model({}, "")
    for weight in model.parameters():
        weight.normal_(std=0.02)
    shapes = comfy.taesd.taesd.TAESD(latent_channels=4).state_dict()
    vae = comfy.sd.VAE(sd={name: 0.1 * torch.randn(v.shape) for name, v in shapes.items()})
    reference, latent = node("NoisedReference", torch.rand(1, 512, 512, 3), vae, "fresh", 1)
    patcher = comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
    return patcher, reference, [[torch.randn(1, 77, 768), {}]], latent


def node(name, *inputs):
    import nodes

    return nodes.NODE_CLASS_MAPPINGS[name].EXECUTE_NORMALIZED(*inputs).args


if __name__ == "__main__":
    run(inside)
