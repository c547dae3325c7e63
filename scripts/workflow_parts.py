"""Parts that the templates are made of: five columns beside two notes, pictures below."""

from scripts.canvas import Canvas, Node, Wire

# What comes with the pack: another model needs no more than another line here.
CHECKPOINT, SIZE = "landscapes-256.safetensors", 256
SAMPLER = {"sampler_name": "dpmpp_2m", "scheduler": "karras"}
COLUMNS = ((350, 250), (680, 225), (970, 225), (1270, 250), (1580, 225))  # x and width
BESIDE = 680  # where the pictures begin, and
END = 1805  # end
LOWER = 320  # where the second row of nodes begins
NOTE_WIDTH = 290
MISSING = 24  # what the newer design writes below a loader whose file is not there
SHIFTS = ("ModelSamplingAuraFlow", "ModelSamplingSD3")
LEAST_PICTURE = 350  # the height below which the canvas makes a LoadImage larger
PICTURE = 705  # where one's own stands, below the notes
FILES = "https://huggingface.co/"


def at_256(factor: float) -> float:
    """A factor of the paper, whose pictures have 256 pixels, for pictures of the bundled model."""
    return factor * SIZE / 256


def put(c: Canvas, column: int, type: str, y: float, heading=None, tall=0, /, **values) -> Node:
    c.column(*COLUMNS[column])
    return c.add(type, y, heading, tall, **values)


def bundled_model(c: Canvas) -> Node:
    model = put(c, 0, "LoadUnconditionalModel", 0, checkpoint=CHECKPOINT)
    c.group("Model", model)
    return model


def example(c: Canvas, name: str, y=LOWER) -> Node:
    return put(c, 0, "ExampleReference", y, name=name, size=SIZE)


def noised(c: Canvas, image: Wire, vae: Wire, column=1, y=LOWER, **options) -> Node:
    return put(c, column, "NoisedReference", y, image=image, vae=vae, **options)


def low_pass(c: Canvas, factor: float, **more) -> Node:
    return put(c, 1, "LowPassFilter", 0, factor=factor, **more)


def followed(c: Canvas, model: Wire, kept: Node, **given: Wire) -> Node:
    """A group with what is kept, by its filter, and the model that keeps it."""
    follow = put(c, 2, "ApplyILVR", 0, model=model, low_pass=kept["low_pass"], **given)
    beside = [node for node in c.nodes if node.type in SHIFTS]
    beside += [given["range"].node] if "range" in given and given["range"].node.y < LOWER else []
    c.group("What is kept, and when" if beside else "What is kept", kept, follow, *beside)
    return follow


def until(c: Canvas, end: float, column=1, y=250) -> Wire:
    """The range in which the reference is followed, below what is kept."""
    return put(c, column, "ConditioningRange", y, start=1000, end=end)["range"]


def sampled(c: Canvas, model: Wire, positive: Wire, negative: Wire, latent, vae, **settings):
    """KSampler and VAEDecode; the latter's picture."""
    sampler = put(
        c, 3, "KSampler", 0, model=model, positive=positive, negative=negative,
        latent_image=latent, **settings,
    )  # fmt: skip
    decoded = put(c, 4, "VAEDecode", 0, samples=sampler["LATENT"], vae=vae)
    c.group("Sampling", sampler, decoded)
    return decoded["IMAGE"]


def wide(c: Canvas, left: float, right: float, type: str, y: float, tall, /, **values) -> Node:
    c.column(left, right - left)
    return c.add(type, y, None, tall, **values)


def compared(c: Canvas, images: Wire, reference: Wire, y, tall, ends, **options) -> Node:
    """The reference and the results in one large picture."""
    given = {"images": images, "reference": reference, "cell": 256, **options}
    return wide(c, *ends, "ContactSheet", y, tall, **given)


def saved(c: Canvas, images: Wire, y, tall, left) -> Node:
    return wide(c, left, END, "SaveImage", y, tall, images=images, filename_prefix="ilvr")


def own_picture(c: Canvas) -> Node:
    c.column(0, NOTE_WIDTH)
    return c.add("LoadImage", PICTURE, None, LEAST_PICTURE, image="example.png")


def prompts(c: Canvas, clip: Wire, y, *texts: str) -> list[Node]:
    """A prompt, and beside it a negative one."""
    nodes = [
        put(c, 1 + i, "CLIPTextEncode", y, heading, 120, clip=clip, text=text)
        for i, (heading, text) in enumerate(zip(("Prompt", "Negative prompt"), texts))
    ]
    c.group("Prompts" if len(nodes) == 2 else "Prompt", *nodes)
    return nodes


def file(name: str, directory: str, source: str) -> dict:
    """A file that people have or the canvas offers to load, as the canvas' own templates say it."""
    return {"name": name, "url": f"{FILES}{source}", "directory": directory}


def loader(c: Canvas, type: str, y, /, *files: dict, **values) -> Node:
    """A loader of files, by the names of its inputs that end in `name`, `name1`, ..."""
    node = put(c, 0, type, y, **values)
    names = [i.name for i in c.inputs(node) if "name" in i.name]
    node.values |= {name: file["name"] for name, file in zip(names, files)}
    node.models = list(files)
    node.height += MISSING
    return node
