"""Parts that several workflows are made of. Wires run between and below the nodes, none across."""

from scripts.canvas import GROUP_GAP, Canvas, Node, Wire
from tooling.canvas import SLOT

LANDSCAPES = "landscapes-64.safetensors"
SAMPLER = {"sampler_name": "dpmpp_2m", "scheduler": "karras"}
# The bundled model's own limits, so that these are the noise levels that KSampler takes too.
KARRAS = {"sigma_max": 157.40728759765625, "sigma_min": 0.01000049989670515, "rho": 7.0}
# Heights of the wires of graphs with an ILVRSampler ...
VAE, LATENT, FLOOR = 334, 650, 760
# ... and of those with ApplyILVR.
REFERENCE, LATENT_BELOW, FLOOR_BELOW = 60, 720, 920


def load_model(c: Canvas, checkpoint=LANDSCAPES) -> Node:
    c.column(320, GROUP_GAP)
    model = c.add("LoadUnconditionalModel", 0, checkpoint=checkpoint)
    c.group("Model", model)
    return model


def example(c: Canvas, name: str, y=190) -> Node:
    c.column(230, GROUP_GAP)
    return c.add("ExampleReference", y, name=name)


def own_picture(c: Canvas, y=190) -> Node:
    c.column(300, GROUP_GAP)
    return c.add("LoadImage", y, None, 340, image="example.png")


def scaled(c: Canvas, image: Wire, width=64, height=None, method="area", y=170) -> Node:
    size = {"width": width, "height": height or width, "crop": "center"}
    c.column(270)
    return c.add("ImageScale", y, image=image, upscale_method=method, **size)


def noised(c: Canvas, image: Wire, vae: Wire, y=300, **options) -> Node:
    c.column(270)
    return c.add("NoisedReference", y, image=image, vae=vae, **options)


def collapsed(c: Canvas, image: Wire) -> Node:
    """A NoisedReference whose latent and widgets are not used."""
    noise = c.add("NoisedReference", 150, image=image)
    noise.collapsed = True
    return noise


def vae_beside(model: Node, *heights) -> Wire:
    """The model's VAE, led down to the height at which a NoisedReference takes it."""
    return model["VAE"].via(*((model.right + 60, model.y + y) for y in heights or [VAE]))


def reference(c: Canvas, model: Node, name: str, scale=True, count=4) -> list[Node]:
    """A group that makes a bundled picture the reference; the last node is the reference."""
    nodes = [example(c, name)]
    if scale:
        nodes.append(scaled(c, nodes[-1]["IMAGE"]))
    nodes.append(noised(c, nodes[-1]["IMAGE"], vae_beside(model), batch_size=count))
    c.group("Reference", *nodes)
    return nodes


def karras(c: Canvas, y=490, **settings) -> Wire:
    return c.add("KarrasScheduler", y, **{"steps": 20, **KARRAS, **settings})["SIGMAS"]


def guided(
    c: Canvas, reference: Wire, factor, kernel="cubic", end=0, denoise=1.0, **levels
) -> tuple[Wire, Wire]:
    """A group that gives a sampler and its noise levels."""
    c.column(250, GROUP_GAP)
    sampler = c.add("KSamplerSelect", 200, sampler_name="dpmpp_2m")
    low_pass = c.add("LowPassFilter", 370, factor=factor, kernel=kernel)
    range = c.add("ConditioningRange", 555, start=1000, end=end)
    c.column(250)
    follow = {"reference": reference, "low_pass": low_pass["low_pass"], "range": range["range"]}
    ilvr = c.add("ILVRSampler", 280, sampler=sampler["SAMPLER"], **follow)
    sigmas = karras(c, **levels)
    nodes = [sampler, low_pass, range, ilvr, sigmas.node]
    if denoise < 1:
        c.column(220)
        nodes.append(c.add("SplitSigmasDenoise", 490, sigmas=sigmas, denoise=denoise))
        sigmas = nodes[-1]["low_sigmas"]
    c.group("A sampler that follows it", *nodes)
    return ilvr["SAMPLER"], sigmas


def latent_below(c: Canvas, noised: Node, y=LATENT, latent: Wire | None = None) -> Wire:
    """A latent, the reference's empty one as a rule, led below the nodes behind this column."""
    down, up = noised.right + 40, c.right + 85
    latent = latent or noised["latent"]
    return latent.via(*c.points((down, y), (up, y), (up, 160)))


def risen(c: Canvas, wire: Wire, right: float, y: float) -> Wire:
    """A wire led up behind this column, in a lane of its own."""
    x = c.right + right
    return wire.via((x, wire.node.y - 30), *c.points((x, y)))


def raised(c: Canvas, y: float, *wires: Wire) -> list[Wire]:
    """Nodes' first outputs, led up to sockets from this height down: each in a lane of its own
    behind this column."""
    lanes = [(c.right + SLOT * i, y + SLOT * (i - 1)) for i in range(1, len(wires) + 1)]
    return [
        wire.via((x, wire.node.y + 0.7 * SLOT), *c.points((x, height)))
        for wire, (x, height) in zip(wires, lanes)
    ]


def sampled(c: Canvas, model: Node, guided, latent: Wire, seed, vae=None, prompts=None, cfg=1.0):
    """SamplerCustom, and its VAEDecode; the VAE's wire runs below."""
    sampler, sigmas = risen(c, guided[0], 35, 120), risen(c, guided[1], 60, 140)
    c.column(270, GROUP_GAP)
    positive, negative = prompts or [model["CONDITIONING"]] * 2
    sampling = c.add(
        "SamplerCustom", 0, model=model["MODEL"], positive=positive, negative=negative,
        noise_seed=seed, cfg=cfg, sampler=sampler, sigmas=sigmas, latent_image=latent,
    )  # fmt: skip
    vae = vae or vae_beside(model, VAE, FLOOR)
    return sampling, decoded(c, sampling["output"], vae)


def decoded(c: Canvas, samples: Wire, vae: Wire) -> Node:
    """A VAEDecode in a column of its own, whose VAE comes from below."""
    up = c.right + 25
    vae = vae.via((up, vae.points[-1][1]), *c.points((up, 80)))
    c.column(180)
    return c.add("VAEDecode", 0, samples=samples, vae=vae)


def saved(c: Canvas, decoded: Node, width=400) -> Node:
    c.column(width)
    return c.add("SaveImage", 0, None, 420, images=decoded["IMAGE"], filename_prefix="ilvr")


def shown(c: Canvas, heading: str, image: Wire, y=0, size=400) -> Node:
    return c.add("PreviewImage", y, heading, size, images=image)


def follow(c: Canvas, name, factor, scale=True, seed=0, **options):
    """The whole graph that many of these are: a bundled picture followed by the bundled model."""
    model = load_model(c)
    *_, noised = reference(c, model, name, scale)
    sample(c, model, noised, factor, seed, **options)


def sample(c: Canvas, model: Node, noised: Node, factor, seed, **options):
    """All that comes behind a reference, up to the saved pictures."""
    follow = guided(c, noised["reference"], factor, **options)
    parts = sampled(c, model, follow, latent_below(c, noised), seed)
    c.group("Result", *parts, saved(c, parts[-1]))


def vae_below(c: Canvas, vae: Wire, noised: Node, floor: float) -> Wire:
    """A VAE, led below the nodes to where a NoisedReference takes it."""
    return vae.via(*c.points((vae.node.right + 30, floor), (noised.x - 25, floor)))


def applied(c: Canvas, model: Wire, noised: Node, factor, end=0) -> list[Node]:
    """LowPassFilter, ConditioningRange and, last, ApplyILVR at the top of the next column."""
    knot = (noised.right + 30, REFERENCE)
    c.column(250, GROUP_GAP)
    low_pass = c.add("LowPassFilter", 130, factor=factor)
    range = c.add("ConditioningRange", 340, start=1000, end=end)
    c.column(320)
    follow = {"low_pass": low_pass["low_pass"], "range": range["range"]}
    reference = noised["reference"].via(*c.points(knot))
    return [low_pass, range, c.add("ApplyILVR", 0, model=model, reference=reference, **follow)]


def stock_sampler(
    c: Canvas, guided: Node, prompts, latent: Wire, vae: Wire, gap=GROUP_GAP, **settings
):
    """KSampler and its VAEDecode."""
    c.column(270, gap)
    conditions = dict(zip(("positive", "negative"), prompts))
    sampling = c.add(
        "KSampler", 0, model=guided["MODEL"], **conditions, latent_image=latent, **settings
    )  # fmt: skip
    return sampling, decoded(c, sampling["LATENT"], vae)


def prompts(c: Canvas, clip: Wire, *texts: str) -> list[Node]:
    """A prompt below another, in the present column."""
    return [
        c.add("CLIPTextEncode", 230 + 220 * i, heading, 160, clip=clip, text=text)
        for i, (heading, text) in enumerate(zip(("Prompt", "Negative prompt"), texts))
    ]
