"""One server under load: memory, and whether the next picture is right.

python -m benchmarks.load [--prompts 1000] [--two 100]

Good prompts of two models that take turns, prompts that fail, and prompts that are interrupted at a
random step, in random order; each tenth is one whose picture is known. Then two clients at once.
"""

import argparse
import itertools
import random
import tempfile
import threading
from pathlib import Path

import torch

from ilvr import Configuration
from ilvr.checkpoint import save
from tooling.hosts import hosts
from tooling.server import serving

SETTLED = 50  # prompts after which memory is measured from
SMALL = Configuration(32, (1, 2), 1, (2,), image_size=16, num_head_channels=16)
COLOURS = itertools.count()
KINDS = ["small"] * 6 + ["bundled"] * 2 + ["fails", "interrupted"]


def graph(checkpoint: str, size: int, seed: int, steps: int = 2, label: int = -1) -> dict:
    def node(class_type, **inputs):
        return {"class_type": class_type, "inputs": inputs}

    return {
        "1": node("LoadUnconditionalModel", checkpoint=checkpoint, class_label=label),
        "2": node("ExampleReference", name="render-lake"),
        "3": node("ImageScale", image=["2", 0], upscale_method="area", width=size, height=size,
                  crop="disabled"),
        "4": node("NoisedReference", image=["3", 0], vae=["1", 2], noise="fresh", batch_size=1),
        # Shown, and never the same, so that nothing behind it is cached.
        "12": node("EmptyImage", width=64, height=64, batch_size=1, color=next(COLOURS)),
        "5": node("LowPassFilter", factor=4, kernel="cubic", exact=True, image=["12", 0]),
        "6": node("ILVRSampler", sampler=["7", 0], low_pass=["5", 0], reference=["4", 0]),
        "7": node("KSamplerSelect", sampler_name="euler"),
        "8": node("BasicScheduler", model=["1", 0], scheduler="karras", steps=steps, denoise=1.0),
        "9": node("SamplerCustom", model=["1", 0], add_noise=True, noise_seed=seed,
                  positive=["1", 1], negative=["1", 1], cfg=1.0, sampler=["6", 0],
                  sigmas=["8", 0], latent_image=["4", 1]),
        "10": node("VAEDecode", samples=["9", 0], vae=["1", 2]),
        "11": node("PreviewImage", images=["10", 0]),
    }  # fmt: skip


def write_small_model(path: Path):
    """Of 16 x 16 pixels, with random weights."""
    shapes = SMALL.network(device="meta").state_dict()
    save({name: 0.05 * torch.randn(value.shape) for name, value in shapes.items()}, SMALL, path)


def small(seed, **rest):
    return graph("small.safetensors", 16, seed, **rest)


def prompt(server, kind, seed, rng):
    """Runs one prompt of a kind; RuntimeError where it does not end as that kind does."""
    if kind == "bundled":
        server.pixels(graph("landscapes-64.safetensors", 64, seed))
    elif kind == "fails":
        error = server.run(small(seed, label=3)).error
        if not error or "has no classes" not in error["exception_message"]:
            raise RuntimeError(f"prompt {seed} ended with {error}")
    elif kind == "interrupted":
        run, last = server.queue(small(seed, steps=400)), rng.randrange(1, 40)
        for event, data in run:
            if event == "progress" and data["value"] == last:
                server.post("/interrupt")
        if not run.all("execution_interrupted"):
            raise RuntimeError(f"prompt {seed} was not interrupted")
    else:
        server.pixels(small(seed))


def under_load(server, prompts: int) -> list[float]:
    """Memory in MB after each prompt."""
    rng, known, memory = random.Random(0), server.pixels(small(10**6)), []
    for seed in range(prompts):
        prompt(server, rng.choice(KINDS), seed, rng)
        if seed % 10 == 9 and not torch.equal(server.pixels(small(10**6)), known):
            raise RuntimeError(f"the known picture is another after prompt {seed}")
        memory.append(server.memory())
    return memory


def two_clients(server, prompts: int):
    """Each with its own prompts, whose pictures are those that one client gets."""
    wanted = {seed: server.pixels(small(seed)) for seed in (1, 2)}
    wrong = []

    def client(seed):
        for _ in range(prompts // 2):
            if not torch.equal(server.pixels(small(seed)), wanted[seed]):
                wrong.append(seed)

    clients = [threading.Thread(target=client, args=(seed,)) for seed in wanted]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    if wrong:
        raise RuntimeError(f"{len(wrong)} pictures of two clients are another's")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--two", type=int, default=100, help="prompts of two clients")
    parser.add_argument("--host", type=Path, help="[the last one that is found]")
    options = parser.parse_args()
    host = options.host or hosts()[-1]
    with tempfile.TemporaryDirectory() as folder, serving(host, Path(folder)) as server:
        write_small_model(Path(folder) / "models" / "adm" / "small.safetensors")
        memory = under_load(server, options.prompts)
        two_clients(server, options.two)
        left = [path for path in Path(folder).rglob("*") if ".partial" in path.name]
        settled = memory[min(SETTLED, len(memory) - 1)]
        most = max(memory[SETTLED:] or [settled]) - settled
        print(f"{host.name}: {options.prompts} prompts, {options.two} of two clients at once")
        print(f"memory after {SETTLED}: {settled:.0f} MB, at most {most:+.0f} MB after that")
        print(f"files half written: {len(left)}")


if __name__ == "__main__":
    main()
