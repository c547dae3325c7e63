"""The picture of docs/diffusers.md, in docs/diffusers.png: `python -m scripts.diffusers_picture`.

It also prints the calls of the network from noise and from each reference, and what is kept.
The bundled model stands where a pipeline of diffusers has its UNet2DModel; scheduler, loop and
reference are as in a user's own lines.
"""

from types import SimpleNamespace

import diffusers
import torch

import ilvr
from ilvr.adapters.diffusers import sample
from ilvr.image import fit, open_image
from tooling.hosts import ROOT

REFERENCES = ("clip-art", "scribble", "render-meadow")
SEEDS, STEPS, FACTOR = [0, 1, 2, 3], 25, 8


class Network(torch.nn.Module):
    """A model of ours, called as a UNet2DModel is."""

    def __init__(self, model: ilvr.DiffusionModel):
        super().__init__()
        own = model.configuration
        self.config = SimpleNamespace(sample_size=own.image_size, in_channels=own.in_channels)
        self.denoiser, self.device, self.dtype = model.denoiser(), model.device, torch.float32
        self.calls = 0

    def forward(self, x, timestep):
        self.calls += 1
        eps = self.denoiser(x, float(timestep) + 1)[:, : x.shape[1]]
        return SimpleNamespace(sample=eps)


def pipeline(model: ilvr.DiffusionModel):
    """What `sample` needs of a pipeline."""
    scheduler = diffusers.DPMSolverMultistepScheduler(
        trained_betas=model.schedule.betas.tolist(), use_karras_sigmas=True
    )
    return SimpleNamespace(unet=Network(model), scheduler=scheduler)


def sampled(pipe, path, start):
    """Pictures of all seeds, from noise or from the reference."""
    low_pass, before = ilvr.LowPassFilter(FACTOR), pipe.unet.calls
    x = sample(pipe, path, low_pass, seeds=SEEDS, num_inference_steps=STEPS, start=start)
    difference = low_pass(x - ilvr.load_image(path, 64)).abs().max()
    calls = pipe.unet.calls - before
    print(f"{path.stem} from {start}: {calls} calls, low frequencies within {difference:.0e}")
    return x


def main():
    pipe = pipeline(ilvr.load("landscapes-64"))
    rows = []
    for name in REFERENCES:
        path = ROOT / "ilvr/assets/references" / f"{name}.png"
        of_noise, _ = [sampled(pipe, path, start) for start in ("noise", "reference")]
        rows.append([fit(open_image(path), 64), *ilvr.to_images(of_noise)])
    columns = ["reference", *(f"seed {seed}" for seed in SEEDS)]
    title = f"The bundled model in a loop of diffusers: N = {FACTOR}, DPM++ 2M, {STEPS} steps"
    ilvr.contact_sheet(rows, columns, title=title).save(ROOT / "docs/diffusers.png")


if __name__ == "__main__":
    main()
