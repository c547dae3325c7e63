"""The guided sampler around the host's own Stable Diffusion, Flux, Wan and pixel models.

Tiny and with random weights, but with their own forward pass, latents, prompts and noise levels.
"""

import math
from dataclasses import dataclass, field
from functools import cache

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from .architectures import ARCHITECTURES
from .host import SEED, ModelType, core, ilvr, low_pass, node, noise, sigmas

SAMPLERS = ["euler", "heun", "dpmpp_2m", "euler_ancestral"]
STEPS, CFG = 6, 4.0
FROM, TO = 900, 300
PART = core.ConditioningRange(FROM, TO)


@dataclass
class Call:
    """One call of a sampler: the state it hands over, the one it goes on with, and what enters the
    network, for every prompt."""

    sigma: float
    handed: torch.Tensor
    kept: torch.Tensor | None = None
    entered: list = field(default_factory=list)
    prompts: list = field(default_factory=list)


class Watched:
    """The model that a sampler calls, noting what it is called with."""

    def __init__(self, model, calls):
        self.model, self.calls = model, calls

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, x, sigma, **options):
        call = Call(float(sigma[0]), x.clone())
        self.calls.append(call)
        x0 = self.model(x, sigma, **options)
        call.kept = x.clone()
        return x0


class Scene:
    """A model of one architecture, its reference, and what happens when it samples."""

    def __init__(self, architecture):
        self.architecture = architecture
        self.vae, self.model = architecture.vae(), architecture.model()
        self.schedule = sigmas(self.model, STEPS)
        self.calls, self.returned, self.result = [], None, None
        self.reference, self.latent = node(
            "NoisedReference", architecture.picture(), self.vae, "fresh", architecture.batch
        )
        self.clean = self._in(self.reference.samples)
        self.pictured = self.decoded(self.reference.samples)

    def _in(self, samples):
        return self.model.model.process_latent_in(samples)

    def bare(self, model=None, name="euler"):
        return self.sample(self.watched(name), model)

    def phi(self, factor):
        return core.LowPassFilter(factor / self.reference.compression)

    def guided(self, name, factor, turned=False, **options):
        sampler = ilvr(self.watched(name), self.reference, low_pass(factor), **options)
        return self.sample(sampler, turned=turned)

    def watched(self, name):
        """The host's sampler, noting the states that it works with."""
        base = comfy.samplers.sampler_object(name)

        def function(model, x, schedule, **options):
            model = Watched(model, self.calls)
            self.returned = base.sampler_function(model, x, schedule, **options).clone()
            return self.returned.clone()

        return comfy.samplers.KSAMPLER(function, base.extra_options, base.inpaint_options)

    def sample(self, sampler, model=None, turned=False):
        """By two prompts and guidance; the result is in the model's own space, as states are."""
        self.calls.clear()
        model = (model or self.model).clone()
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "watch", self._enter)
        positive, negative = self.architecture.prompts()[:: -1 if turned else 1]
        latent = self.latent["samples"]
        samples = comfy.sample.sample_custom(
            model, noise(*latent.shape), CFG, sampler, self.schedule.clone(), positive, negative,
            latent, seed=SEED, disable_pbar=True,
        )  # fmt: skip
        self.result = self._in(samples)
        return samples

    def _enter(self, network, x, sigma, *args, **kwargs):
        prompts = args[3]["cond_or_uncond"]
        self.calls[-1].entered += x.clone().chunk(len(prompts))
        self.calls[-1].prompts += prompts
        return network(x, sigma, *args, **kwargs)

    def noised(self, sigma, like):
        """y_t of every item, by the model's rule."""
        seeds = range(SEED, SEED + len(like))
        eps = core.ItemNoise(seeds).draw("reference", 1000 * sigma, like)
        flow = self.model.model.model_type in (ModelType.FLOW, ModelType.FLUX)
        return (1 - sigma) * self.clean + sigma * eps if flow else self.clean + sigma * eps

    def decoded(self, samples):
        """(B, 3, ..., H, W) in [0, 1]."""
        return self.vae.decode(samples).movedim(-1, 1)

    def agreement(self, samples, factor):
        """PSNR, after the VAE, of the picture made smaller against the reference made smaller.

        Both go through the VAE's decoder: what it alone does to a picture is not counted. A random
        network leaves noise in the latents, and a random decoder bends it into low frequencies, so
        that the figure is far below what trained ones give.
        """
        down = core.LowPassFilter(factor).down
        off = down(self.decoded(samples)) - down(self.pictured)
        return float(-10 * off.square().mean().log10())


scene = cache(lambda name: Scene(ARCHITECTURES[name]))


@pytest.fixture(params=ARCHITECTURES, name="scene")
def any_scene(request):
    return scene(request.param)


def check_states(scene, factor, start=1000, end=0):
    """Every state that entered the network in the last run, against the paper's Eq. 8 and 10."""
    phi, levels = scene.phi(factor), scene.schedule.tolist()
    table = scene.model.get_model_object("model_sampling")
    high, low = (float(table.percent_to_sigma(1 - t / 1000)) for t in (start, end))
    refined = set()
    for call in scene.calls:
        assert set(call.prompts) == {0, 1}, "a prompt was left out"
        for x in call.entered:
            assert torch.equal(x, call.kept), "the sampler goes on with another state"
            inside = low <= call.sigma <= high and call.sigma in levels[1:]
            check_state(scene, phi, call, x, inside)
            refined |= {call.sigma} if inside else set()
    assert refined == {s for s in levels[1:-1] if low <= s <= high}, "a level was left out"
    assert len(refined) >= 2


def check_state(scene, phi, call, x, inside):
    if not inside:
        assert torch.equal(x, call.handed), "a state outside the range was changed"
        return
    tolerance = 1e-5 * (1 + call.sigma + float(scene.clean.abs().max()))
    off = phi(x) - phi(scene.noised(call.sigma, x))
    assert off.abs().max() < tolerance, "low frequencies are not the reference's"
    change = x - call.handed
    assert (change - phi(change)).abs().max() < tolerance, "high frequencies were changed"


def check_result(scene, factor, end=0):
    """The finished image before decoding: the reference's low frequencies, the sampler's high."""
    if end:
        assert torch.allclose(scene.result, scene.returned, rtol=1e-5, atol=1e-5)
        return
    phi = scene.phi(factor)
    scale = 1 + float(scene.result.abs().max())
    off = phi.down(scene.result) - phi.down(scene.clean.expand_as(scene.result))
    assert off.abs().max() < 1e-5 * scale, "the result is not the reference made smaller"
    change = scene.result - scene.returned
    assert (change - phi(change)).abs().max() < 1e-5 * scale, "high frequencies were changed"


@pytest.mark.parametrize("name", SAMPLERS)
def test_follows_the_reference_at_every_network_call(scene, name):
    bare = scene.bare(name=name)
    for factor in scene.architecture.factors:
        samples = scene.guided(name, factor)
        check_states(scene, factor)
        check_result(scene, factor)
        figures = [scene.agreement(x, factor) for x in (samples, bare)]
        print("N = {}: {:.1f} dB after the VAE, {:.1f} dB without ILVR".format(factor, *figures))
        assert all(map(math.isfinite, figures))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_range_leaves_the_other_states_alone(scene, name):
    for factor in scene.architecture.factors:
        scene.guided(name, factor, range=PART)
        check_states(scene, factor, FROM, TO)
        check_result(scene, factor, TO)
        inside = {call.sigma for call in scene.calls} - {float(scene.schedule[0])}
        assert len(inside) < STEPS


def test_apply_ilvr_gives_the_same_states_and_latents(scene):
    factor = scene.architecture.factors[0]
    wanted = scene.guided("dpmpp_2m", factor)
    model = node("ApplyILVR", scene.model, low_pass(factor), scene.reference)[0]
    got = scene.sample(scene.watched("dpmpp_2m"), model)
    assert torch.equal(got, wanted)
    check_states(scene, factor)
    check_result(scene, factor)


def test_both_prompts_guide(scene):
    factor = scene.architecture.factors[0]
    one, other = (scene.guided("euler", factor, turned) for turned in (False, True))
    assert (one - other).abs().mean() > 0.01 * one.abs().mean()


def test_a_colour_transfer_after_sampling_is_found_out(scene):
    factor = scene.architecture.factors[0]
    phi = scene.phi(factor)
    scene.bare()
    scene.result = scene.returned + phi(scene.clean - scene.returned)
    check_result(scene, factor)
    with pytest.raises(AssertionError, match="low frequencies are not the reference's"):
        check_states(scene, factor)
