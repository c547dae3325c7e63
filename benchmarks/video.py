"""What is kept of a video over time, on a model in closed form: `python -m benchmarks.video`.

No video model comes with the pack, so the videos are of a Gaussian one: its answer is exact, and
its power at every frequency of (time, height, width) is that of renders under a moving camera. The
references are such clips of 17 frames and 64 x 64 pixels, held out, whose light flickers from frame
to frame. dpmpp_2m with 20 steps, low frequencies from N = 16 on.

- flicker: standard deviation over time of the mean colour;
- motion: standard deviation over time of the detail finer than N, as a share of the clips';
- colour: how far the mean colour over the clip is from the reference's, root mean square;
- layout: correlation of the low frequencies' mean over time with the reference's.

Then a second chunk, of 25 frames, is anchored to the mean over time of the first.
"""

import argparse

import numpy as np
import torch

from ilvr import ItemNoise, LowPassFilter, NoisedReference, NoiseSchedule, Refinement
from ilvr.samplers import dpmpp_2m
from training.render import HELD_OUT, render

SIZE, FRAMES, STEPS, N = 64, 17, 20, 16
FLICKER = 0.1  # standard deviation of the light, as a share of it


def clip(seed, frames=FRAMES) -> torch.Tensor:
    """(3, T, 64, 64) of a render past which the camera moves, 1 to 2 pixels a frame."""
    rng = np.random.default_rng(seed)
    speed = rng.uniform(1, 2) * rng.choice([-1, 1])
    scene = torch.tensor(render(seed, 2 * SIZE)).permute(2, 0, 1) / 127.5 - 1
    starts = [round(i * abs(speed)) for i in range(frames)][:: int(np.sign(speed))]
    top = int(rng.uniform(0.2, 0.8) * SIZE)
    return torch.stack([scene[:, top : top + SIZE, x : x + SIZE] for x in starts], 1)


class Gaussian:
    """The perfect denoiser of clips of this mean and power, independent at every frequency."""

    def __init__(self, clips, schedule):
        self.mean = clips.mean((0, 2), keepdim=True).expand(1, -1, clips.shape[2], -1, -1)
        self.power = self.spectrum(clips - self.mean).abs().square().mean(0)
        self.levels = {level.t: level for level in schedule.karras(STEPS)}
        self.schedule = schedule

    def spectrum(self, x):
        return torch.fft.fftn(x, dim=(-3, -2, -1), norm="ortho")

    def __call__(self, x, t):
        level = self.levels[t]
        deviation = self.spectrum(x - level.signal * self.mean)
        gain = level.signal * self.power / (level.signal**2 * self.power + level.noise**2)
        x0 = self.mean + torch.fft.ifftn(gain * deviation, dim=(-3, -2, -1), norm="ortho").real
        return (x - level.signal * x0) / level.noise

    def sample(self, seeds, refinement=None):
        noise, levels = ItemNoise(seeds), list(self.levels.values())
        like = self.mean.expand(len(seeds), -1, -1, -1, -1)
        x = levels[0].noise * noise.draw("start", 1000, like)
        for step in dpmpp_2m(self, x, levels, noise, refinement, clip=False):
            pass
        return step.x


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=32, help="references [32]")
    parser.add_argument("--clips", type=int, default=256, help="that the model is made of [256]")
    options = parser.parse_args()
    schedule = NoiseSchedule.linear()
    model = Gaussian(torch.stack([clip(i) for i in range(options.clips)]), schedule)
    calm = torch.stack([clip(HELD_OUT + i) for i in range(options.count)])
    draws = torch.randn(options.count, 1, FRAMES, 1, 1, generator=torch.Generator().manual_seed(0))
    y = ((calm + 1) * (1 + FLICKER * draws) - 1).clamp(-1, 1)

    print("| | flicker | motion | colour | layout |\n|---|---|---|---|---|")
    rows = {"the references": y, "without ILVR": model.sample(range(options.count))}
    for name, frames in (("frames 1", 1), ("frames 8", 8), ("frames 17", FRAMES)):
        refinement = Refinement(NoisedReference(y), LowPassFilter(N, frames=frames))
        rows[name] = model.sample(range(options.count), refinement)
    for name, x in rows.items():
        print(f"| {name} | {measured(x, y, calm)} |")

    more = Gaussian(torch.stack([clip(i, 25) for i in range(options.clips)]), schedule)
    first = rows["without ILVR"]
    anchor = first.mean(2, keepdim=True).expand(-1, -1, 25, -1, -1)
    refinement = Refinement(NoisedReference(anchor), LowPassFilter(N, frames=25))
    for name, guide in (("a second chunk alone", None), ("anchored", refinement)):
        x = more.sample(range(100, 100 + options.count), guide)
        print(f"| {name} | {measured(x, anchor, calm)} |")


def measured(x, y, calm):
    low, of_y = LowPassFilter(N)(x), LowPassFilter(N)(y)
    colour = x.mean((-2, -1))
    flicker = colour.std(2).mean()
    motion = (x - low).std(2).mean() / (calm - LowPassFilter(N)(calm)).std(2).mean()
    off = (colour.mean(2) - y.mean((-2, -1)).mean(2)).square().mean().sqrt()
    layouts = [part.mean(2).flatten(1) for part in (low, of_y)]
    layouts = [part - part.mean(0) for part in layouts]
    same = torch.nn.functional.cosine_similarity(*layouts, dim=1).mean()
    return " | ".join(f"{value:.3f}" for value in (flicker, motion, off, same))


if __name__ == "__main__":
    main()
