"""Few steps of the host's own samplers, guided: `python -m benchmarks.few_steps`.

Runs in the newest ComfyUI found, on landscapes-64 with Karras noise levels. The references are
held-out renders, each used once, the same for every row; agreement and distance are those of
quality.py, detail is the standard deviation of what the filter takes away. What is finished is kept
in output/, so that a stopped run goes on.
"""

import argparse
import sys
from functools import partial

import torch

from benchmarks.start import detail
from ilvr import contact_sheet, to_images
from ilvr.checkpoint import BUNDLED
from ilvr.evaluation.plan import digest
from ilvr.image import seen
from tooling.frechet import distance, features
from tooling.hosts import ROOT
from tooling.in_host import run, start
from tooling.pictures import generated, pictures, psnr

SAMPLERS = ["euler", "dpmpp_2m", "res_multistep", "lcm"]
STEPS = [4, 8, 10, 20]
SHOWN = 2  # which reference the sheet shows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=512, help="images a row [512]")
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS)
    parser.add_argument("--steps", nargs="+", type=int, default=STEPS, help="of the schedule")
    parser.add_argument("--factor", type=float, default=8.0, help="N [8]")
    parser.add_argument("--start", choices=["noise", "reference"], default="noise")
    parser.add_argument("--bare", action="store_true", help="the samplers alone, for comparison")
    options = parser.parse_args()
    settings = options.samplers, options.steps, options.factor, options.start
    run(inside, options.count, *settings, options.bare)


def inside(count, samplers, counts, factor, start_at, bare):
    """The table and the sheet, in the host."""
    name = "few-steps-bare" if bare else f"few-steps-{start_at}-{factor:g}"
    out = ROOT / "output" / name
    kept = out / digest([BUNDLED["landscapes-64"]])
    start(out / "host")
    torch.set_num_threads(1)
    guide = Guided(factor)
    references = pictures(0, count)
    real = features(pictures(10_000, 2000))
    own = distance(features(references), real)
    print(f"{count} references, N = {factor:g}, start at {start_at}; renders: {own:.3f}")
    print("| sampler | steps | calls | agreement, dB | in 8 bits, dB | detail | Frechet distance |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for sampler in samplers:
        rows.append(list(to_images(references[SHOWN : SHOWN + 1])))
        for steps in counts:
            guide.calls.clear()
            make = partial(guide.images, sampler, steps, start_at, bare)
            images, _ = generated(kept / f"{sampler}-{steps}", references, make)
            agreements = [psnr(x, references, factor) for x in (images, seen(images))]
            calls = f"{min(guide.calls)}-{max(guide.calls)}" if guide.calls else ""
            cells = (sampler, steps, calls, *(f"{a:.0f}" for a in agreements))
            far, fine = distance(features(images), real), detail(images, factor).std()
            print(f"| {' | '.join(map(str, cells))} | {fine:.4f} | {far:.3f} |")
            sys.stdout.flush()
            rows[-1] += to_images(images[SHOWN : SHOWN + 1])
    sheet = contact_sheet(rows, ["reference", *(f"{n} steps" for n in counts)], samplers)
    sheet.save(out / "few-steps.png")


class Guided:
    """The bundled model under the pack's own nodes."""

    def __init__(self, factor):
        import nodes

        self.factor = factor
        self.nodes = nodes.NODE_CLASS_MAPPINGS
        name = "landscapes-64.safetensors"
        self.model, self.condition, self.vae = self.node("LoadUnconditionalModel", name)
        self.calls: set[int] = set()  # of the network, an image

    def node(self, name, *inputs, **named):
        return self.nodes[name].EXECUTE_NORMALIZED(*inputs, **named).args

    @torch.inference_mode()
    def images(self, sampler, steps, start_at, bare, y, seed):
        """One after the other where each starts at a level of its own."""
        size = len(y) if start_at == "noise" else 1
        make = partial(self._batch, sampler, steps, start_at, bare)
        return torch.cat([make(part, seed + i * size) for i, part in enumerate(y.split(size))])

    def _batch(self, sampler, steps, start_at, bare, y, seed):
        import comfy.sample
        import comfy.samplers

        image = (y.movedim(1, -1) + 1) / 2  # BCHW in [-1, 1] -> BHWC in [0, 1]
        reference, latent = self.node("NoisedReference", image, self.vae, "fresh", len(y))
        low_pass = self.node("LowPassFilter", self.factor, "cubic", True)[0]
        sampler = comfy.samplers.sampler_object(sampler)
        if not bare:
            follow = {"low_pass": low_pass, "reference": reference, "start": start_at}
            sampler = self.node("ILVRSampler", sampler, **follow)[0]
        table = self.model.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(table, "karras", steps)
        noise = comfy.sample.prepare_noise(latent["samples"], seed)
        done: list[int] = []
        images = comfy.sample.sample_custom(
            self.model, noise, 1.0, sampler, sigmas, self.condition, self.condition,
            latent["samples"], disable_pbar=True, seed=seed,
            callback=lambda i, x0, x, total: done.append(i),
        )  # fmt: skip
        self.calls.add(len(done))
        return images


if __name__ == "__main__":
    main()
