"""What the tests need of a host: models whose answer is known, sampling, whole graphs."""

import asyncio
import importlib
import uuid
from pathlib import Path

import comfy.latent_formats
import comfy.model_base
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.supported_models_base
import comfy.taesd.taesd
import execution
import torch
from comfy.model_base import ModelType

import nodes

PACK = str(Path(__file__).parents[2]).replace(".", "_x_")
core = importlib.import_module(f"{PACK}.ilvr")
NO_STATE = ["uni_pc", "uni_pc_bh2", "sa_solver", "sa_solver_pece", "dpm_fast", "dpm_adaptive"]
SAMPLERS = [name for name in comfy.samplers.SAMPLER_NAMES if name not in NO_STATE]
MEAN = 0.1
SEED = 7


def posterior_mean(z, signal, noise):
    """E[x_0 | z = signal x_0 + noise eps] of data N(MEAN, d^2), in closed form.

    d differs from column to column, so that high and low frequencies depend on each other.
    """
    variance = (0.2 + 0.3 * (torch.arange(z.shape[-1]) % 3)) ** 2
    gain = variance * signal / (variance * signal**2 + noise**2)
    return MEAN + gain * (z - signal * MEAN)


class Network(torch.nn.Module):
    """The perfect network of that data: it sees z, and answers as its kind is trained to."""

    def __init__(self, kind, sigma_data=1.0, dtype=None, **kwargs):
        super().__init__()
        self.kind, self.sigma_data, self.dtype = kind, sigma_data, dtype

    def forward(self, z, timesteps, context=None, transformer_options=None, **kwargs):
        signal, noise = self.levels(float(transformer_options["sigmas"][0]))
        x0 = posterior_mean(z, signal, noise)
        return self.output(x0, (z - signal * x0) / noise, signal, noise)

    def levels(self, sigma):
        """(signal, noise) of z = signal x_0 + noise eps."""
        if self.kind == ModelType.FLOW:
            return 1 - sigma, sigma
        if self.kind == ModelType.FLOW_COSMOS:
            return 1 / (1 + sigma), sigma / (1 + sigma)
        signal = (sigma**2 + self.sigma_data**2) ** -0.5  # z has sigma_data's share of variance 1
        return signal, signal * sigma

    def output(self, x0, eps, signal, noise):
        """eps (DDPM), v (progressive distillation), F (EDM) or the velocity of a straight flow."""
        if self.kind in (ModelType.FLOW, ModelType.FLOW_COSMOS):
            return eps - x0
        if self.kind == ModelType.V_PREDICTION:
            return signal * eps - noise * x0
        if self.kind == ModelType.EDM:
            return noise / self.sigma_data * x0 - signal * self.sigma_data * eps
        return eps


class Gaussian(comfy.model_base.BaseModel):
    """A host model around that network, which keeps every (sigma, state) that enters it."""

    def __init__(self, config, kind):
        super().__init__(config, kind, device="cpu", unet_model=Network)
        self.entered = []

    def _apply_model(self, x, t, *args, **kwargs):
        self.entered.append((float(t[0]), x.clone()))
        return super()._apply_model(x, t, *args, **kwargs)


def gaussian(kind=ModelType.EPS, latent_format=comfy.latent_formats.ChromaRadiance, **settings):
    class Config(comfy.supported_models_base.BASE):
        unet_extra_config = {}  # noqa: RUF012
        sampling_settings = settings

    Config.latent_format = latent_format
    sigma_data = settings.get("sigma_data", 1.0)
    config = Config({"dtype": torch.float32, "kind": kind, "sigma_data": sigma_data})
    model = Gaussian(config, kind)
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def node(name, *args, **kwargs):
    """The outputs of one node, called as the host calls it."""
    return nodes.NODE_CLASS_MAPPINGS[name].EXECUTE_NORMALIZED(*args, **kwargs).args


def picture(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def pixel_vae():
    return comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})


def tiny_vae(channels=4):
    """The host's smallest VAE of latents, 8 pixels a cell, with random weights."""
    shapes = comfy.taesd.taesd.TAESD(latent_channels=channels).state_dict()
    weights = random_weights(shapes)
    weights["vae_scale"], weights["vae_shift"] = torch.tensor(0.2), torch.tensor(0.0)
    grey = max((name for name in weights if "decoder" in name), key=lambda n: int(n.split(".")[1]))
    weights[grey.replace("weight", "bias")] += 0.5
    return comfy.sd.VAE(sd=weights)


def random_weights(state):
    """For a network's state_dict: normalisations as they begin, the rest as layers begin."""
    return {name: _weight(name, value, seed) for seed, (name, value) in enumerate(state.items())}


def _weight(name, value, seed):
    if name.endswith((".gamma", ".scale")) or (value.ndim < 2 and name.endswith("weight")):
        return torch.ones_like(value)
    if value.ndim < 2:
        return torch.zeros_like(value)
    return noise(*value.shape, seed=seed) / value[0].numel() ** 0.5


def reference(image=None, vae=None, noise="fresh", **options):
    image = picture(1, 32, 32, 3) if image is None else image
    return node("NoisedReference", image, vae or pixel_vae(), noise, 1, **options)[0]


def low_pass(factor=4.0, kernel="cubic", exact=True):
    return node("LowPassFilter", factor, kernel, exact)[0]


def ilvr(sampler="euler", ref=None, phi=None, **options):
    if isinstance(sampler, str):
        sampler = comfy.samplers.sampler_object(sampler)
    return node("ILVRSampler", sampler, phi or low_pass(), ref or reference(), **options)[0]


def sigmas(model, steps=8, scheduler="normal"):
    table = model.get_model_object("model_sampling")
    return comfy.samplers.calculate_sigmas(table, scheduler, steps)


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sample(model, sampler, schedule, latent=None, start=None, **options):
    if isinstance(sampler, str):
        sampler = comfy.samplers.sampler_object(sampler)
    latent = torch.zeros(1, 3, 32, 32) if latent is None else latent
    start = noise(*latent.shape) if start is None else start
    condition = [[torch.zeros(1, 1, 1), {}]]
    options = {"seed": SEED, "disable_pbar": True, **options}
    return comfy.sample.sample_custom(
        model, start, 1.0, sampler, schedule, condition, condition, latent, **options
    )


class Server:
    client_id = last_node_id = last_prompt_id = None

    def __init__(self):
        self.sockets_metadata, self.sent = {}, []

    def send_sync(self, event, data, sid=None):
        self.sent.append((event, data))


def run_graph(prompt):
    """Queues a graph {id: {class_type, inputs}} as the host does; (outputs by node, events)."""
    return asyncio.run(_run_graph(prompt))


async def _run_graph(prompt):
    server, key = Server(), str(uuid.uuid4())
    valid = await execution.validate_prompt(key, prompt, None)
    assert valid[0], valid
    executor = _executor(server)
    await executor.execute_async(prompt, key, {}, valid[2])
    assert executor.success, server.sent[-3:]
    return executor.history_result["outputs"], server.sent


def _executor(server):
    caches = {"ram": 0.0, "ram_inactive": 0.0, "lru": 0}
    try:
        return execution.PromptExecutor(
            server, cache_type=execution.CacheType.CLASSIC, cache_args=caches
        )
    except TypeError:
        return execution.PromptExecutor(server)
