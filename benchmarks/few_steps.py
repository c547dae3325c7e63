"""Few steps of the host's own samplers, guided: `python -m benchmarks.few_steps`.

What start.py measures, as rows "karras SAMPLER" of the same tables: in the newest ComfyUI found,
with Karras noise levels, of which `start` reference leaves as many calls of the network as stand in
brackets. The network computes in the type that the command line takes, by torch's autocast.
"""

from functools import partial

import torch

from benchmarks.start import folder, measure, parsed, tables
from ilvr import LowPassFilter
from ilvr.guidance import start_sigma
from ilvr.settings import fastest_dtype
from tooling.hosts import ROOT
from tooling.in_host import run, start
from tooling.pictures import generated

SAMPLERS = [f"karras {name}" for name in ("dpmpp_2m", "euler", "res_multistep", "lcm")]


def main():
    options = parsed(__doc__, SAMPLERS)
    run(inside, options.rows, options.count)


def inside(rows, count):
    """The rows, in the host."""
    start(ROOT / "output/few-steps/host")
    torch.set_num_threads(1)
    guided = Guided()
    measure(rows, count, guided.made, guided.calls)
    print(tables(count))


class Guided:
    """The bundled model under the pack's own nodes."""

    def __init__(self):
        import nodes

        self.nodes = nodes.NODE_CLASS_MAPPINGS
        name = "landscapes-64.safetensors"
        self.model, self.condition, self.vae = self.node("LoadUnconditionalModel", name)
        if fastest_dtype("cpu") == "bfloat16":
            self.model.set_model_unet_function_wrapper(in_bfloat16)

    def node(self, name, *inputs, **named):
        return self.nodes[name].EXECUTE_NORMALIZED(*inputs, **named).args

    def made(self, row, references, seed):
        return generated(ROOT / folder(row, seed), references, partial(self.images, row, seed))[0]

    @torch.inference_mode()
    def images(self, row, other, y, seed):
        """Those that start at the same level in one batch."""
        own = self.calls(row, y)
        images = torch.empty_like(y)
        for calls in set(own):
            alike = [i for i, count in enumerate(own) if count == calls]
            images[alike] = self.batch(row, y[alike], other + seed + alike[0], calls)
        return images

    def calls(self, row, y):
        """Of the network, for each of the references y."""
        _, begin, steps, factor = row.split("-")
        if begin == "noise":
            return [int(steps)] * len(y)
        starts = start_sigma(y, LowPassFilter(float(factor)))
        louder = (self.levels(int(steps)) >= starts[:, None]).sum(1)
        return [int(steps) - max(int(n) - 1, 0) for n in louder]

    def levels(self, steps):
        import comfy.samplers

        table = self.model.get_model_object("model_sampling")
        return comfy.samplers.calculate_sigmas(table, "karras", steps)

    def batch(self, row, y, seed, calls):
        import comfy.sample
        import comfy.samplers

        name, begin, steps, factor = row.split("-")
        image = (y.movedim(1, -1) + 1) / 2  # BCHW in [-1, 1] -> BHWC in [0, 1]
        reference, latent = self.node("NoisedReference", image, self.vae, "fresh", len(y))
        low_pass = self.node("LowPassFilter", float(factor), "cubic", True)[0]
        sampler = comfy.samplers.sampler_object(name.removeprefix("karras "))
        follow = {"low_pass": low_pass, "reference": reference, "start": begin}
        sampler = self.node("ILVRSampler", sampler, **follow)[0]
        noise = comfy.sample.prepare_noise(latent["samples"], seed)
        done: list[int] = []
        images = comfy.sample.sample_custom(
            self.model, noise, 1.0, sampler, self.levels(int(steps)),
            self.condition, self.condition, latent["samples"], disable_pbar=True, seed=seed,
            callback=lambda i, x0, x, total: done.append(i),
        )  # fmt: skip
        if len(done) != calls:
            raise RuntimeError(f"{row} took {len(done)} steps, not {calls}")
        return images


def in_bfloat16(network, given):
    with torch.autocast(given["input"].device.type, torch.bfloat16):
        return network(given["input"], given["timestep"], **given["c"])


if __name__ == "__main__":
    main()
