"""Trains an ADM U-Net on landscapes or on a folder of pictures: `python -m training.train`.

Stop it with Ctrl-C; the same command goes on from there.
"""

import argparse
import copy
import csv
import math
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ilvr import (
    Configuration,
    DiffusionModel,
    NoiseSchedule,
    checkpoint,
    contact_sheet,
    load,
    sample,
    to_images,
)
from ilvr.disk import whole
from ilvr.unet import UNet
from training import data
from training.loss import Posterior, bound, coarse, importance, sample_steps, simple, varied

WARM_UP = 200  # optimiser steps
QUARTERS = 4  # of the timesteps, in the loss curve


@dataclass
class Run:
    """Everything that a resumed run must find as it was left."""

    model: UNet
    ema: UNet
    optimiser: torch.optim.Optimizer
    seen: int = 0  # images
    steps: int = 0
    seconds: float = 0.0

    def done(self, args) -> float:
        """The share of the budget, in hours or else in images, that is used up."""
        if args.hours:
            return min(self.seconds / (3600 * args.hours), 1)
        return min(self.seen / args.images_total, 1)

    def progress(self, args) -> tqdm:
        """A bar over the same budget, at this point of it."""
        if args.hours:
            return tqdm(total=int(3600 * args.hours), initial=int(self.seconds), unit="s")
        return tqdm(total=args.images_total, initial=self.seen, unit="img")

    def state(self):
        parts = {name: getattr(self, name).state_dict() for name in ("model", "ema", "optimiser")}
        return {**parts, "seen": self.seen, "steps": self.steps, "seconds": self.seconds}

    def load_state(self, state):
        for name in ("model", "ema", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.seen, self.steps, self.seconds = state["seen"], state["steps"], state["seconds"]


def main():
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        run = start(args, device)
        if args.images:
            pictures = data.folder(args.images, args.size)
        else:
            pictures = data.renders(args.out / "renders.npy", args.renders, args.size)
    except ValueError as error:
        raise SystemExit(f"training: {error}") from None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        train(run, pictures, args, device)
    except KeyboardInterrupt:
        print(f"Stopped after {run.seen} images; the same command goes on from there.")
    save(run, args)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="landscapes", help="folder in training/runs/")
    parser.add_argument("--images", type=Path, help="folder of pictures; default: our renders")
    parser.add_argument("--renders", type=int, default=24000, help="how many to draw")
    parser.add_argument("--size", type=int, default=64, help="a multiple of 8")
    parser.add_argument("--init", type=Path, help="weights (.safetensors) to start from")
    parser.add_argument("--images-total", type=int, default=150_000, help="images to train on")
    parser.add_argument("--hours", type=float, help="train that long instead, pauses not counted")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-4, help="peak learning rate")
    parser.add_argument("--lr-floor", type=float, default=0.02, help="share of it at the end")
    parser.add_argument("--ema", type=float, default=0.999, help="decay per step")
    parser.add_argument(
        "--high-noise", type=float, default=0.0, help="share of steps drawn from the noisier half"
    )
    parser.add_argument(
        "--weight-power", type=float, default=0.0, help="loss weight (1 / SNR) ** power, if over 1"
    )
    parser.add_argument(
        "--coarse-weight", type=float, default=0.0, help="of the error in colour and layout"
    )
    parser.add_argument(
        "--jitter", type=float, default=0.1, help="standard deviation of the noise's amplitude"
    )
    parser.add_argument("--save-every", type=float, default=3, help="minutes")
    parser.add_argument("--sample-every", type=float, default=10, help="minutes")
    parser.add_argument("--threads", type=int, help="CPU threads")
    args = parser.parse_args()
    args.out = Path(__file__).parent / "runs" / args.name
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


def configuration(size: int) -> Configuration:
    return Configuration(
        model_channels=32,
        channel_mult=(2, 1, 2, 4),  # 32 channels at full size would be normalised one by one
        num_res_blocks=1,
        attention_rates=(8,),
        image_size=size,
        num_head_channels=32,
    )


def start(args, device) -> Run:
    """A run as it was left, or a new one from `--init` or from nothing."""
    model = network(args).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.0)
    run = Run(model, copy.deepcopy(model).requires_grad_(False), optimiser)
    if (args.out / "state.pt").exists():
        run.load_state(torch.load(args.out / "state.pt", map_location=device))
        print(f"Going on after {run.seen} images.")
    return run


def network(args) -> UNet:
    """The weights of `--init`; else every block begins as the identity, its last layer zero."""
    model = configuration(args.size).network()
    if args.init:
        loaded = load(args.init)
        if replace(loaded.configuration, image_size=args.size) != configuration(args.size):
            raise ValueError(f"{args.init} is of another architecture than the one trained here.")
        model.load_state_dict(loaded.network.state_dict())
        return model
    for name, parameter in model.named_parameters():
        if name.startswith("out.2.") or ".out_layers.3." in name or ".proj_out." in name:
            torch.nn.init.zeros_(parameter)
    return model


def train(run, pictures, args, device):
    posterior = Posterior(NoiseSchedule.linear(), device)
    curve = Curve(args.out / "loss.csv")
    rng = np.random.default_rng(run.seen)
    torch.manual_seed(run.seen)
    now = saved = sampled = time.time()
    with run.progress(args) as progress:
        while run.done(args) < 1:
            clean = data.batch(pictures, args.batch, rng).to(device)
            curve.add(run.seen, *step(run, clean, posterior, args))
            run.seen += len(clean)
            before, now = now, time.time()
            run.seconds += now - before
            progress.set_postfix(images=run.seen, refresh=False)
            progress.update(int(run.seconds if args.hours else run.seen) - progress.n)
            if now - saved > 60 * args.save_every:
                save(run, args)
                saved = now
            if now - sampled > 60 * args.sample_every:
                save_samples(run, args)
                sampled = now
    save_samples(run, args)


def step(run, clean, posterior, args):
    """One optimiser step -> (B,) steps, their (B,) noise errors, the mean bound."""
    device = clean.device
    t = sample_steps(len(clean), len(posterior.signal), args.high_noise, device)
    eps = varied(torch.randn_like(clean), t, args.jitter)
    noisy = (
        posterior.signal[t].view(-1, 1, 1, 1) * clean + posterior.noise[t].view(-1, 1, 1, 1) * eps
    )
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device)):
        out = run.model(noisy, t)
    predicted, v = out.float().chunk(2, dim=1)
    errors = simple(eps, predicted)
    bounds = bound(posterior, clean, noisy, predicted, v, t)
    weights = importance(posterior, t, args.weight_power)
    weighted = weights * (errors + args.coarse_weight * coarse(eps, predicted))
    (weighted + bounds).mean().backward()
    update(run, args)
    return t, errors.detach(), bounds.detach().mean()


def has_bfloat16(device):
    """Whether bfloat16 is faster; older CPUs imitate it, dozens of times slower."""
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"


def update(run, args):
    """AdamW with clipped gradients, then the moving average of the weights."""
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimiser.param_groups[0]["lr"] = args.lr * rate(run, args)
    run.optimiser.step()
    run.optimiser.zero_grad()
    run.steps += 1
    decay = min(args.ema, run.steps / (run.steps + 10))
    torch._foreach_lerp_(list(run.ema.parameters()), list(run.model.parameters()), 1 - decay)


def rate(run, args) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine down to the floor."""
    cosine = (1 + math.cos(math.pi * run.done(args))) / 2
    return min((run.steps + 1) / WARM_UP, 1) * (args.lr_floor + (1 - args.lr_floor) * cosine)


class Curve:
    """Means of 200 steps as CSV rows: images seen, L_simple, bound, L_simple by quarter of t."""

    def __init__(self, path: Path, every: int = 200):
        self.path, self.every = path, every
        self.rows = []
        if not path.exists():
            quarters = [f"quarter{i + 1}" for i in range(QUARTERS)]
            self._append(["images", "simple", "bound", *quarters])

    def add(self, seen, t, errors, bound):
        self.rows.append((t * QUARTERS // 1000, errors, bound))
        if len(self.rows) == self.every:
            self._append([seen, *self._means()])
            self.rows = []

    def _means(self):
        quarter, errors = (torch.cat(parts) for parts in list(zip(*self.rows, strict=True))[:2])
        bounds = torch.stack([row[2] for row in self.rows])
        by_quarter = [errors[quarter == i].mean().item() for i in range(QUARTERS)]
        means = [sum(by_quarter) / QUARTERS, bounds.mean().item(), *by_quarter]
        return [f"{mean:.6f}" for mean in means]

    def _append(self, row):
        with open(self.path, "a", newline="") as file:
            csv.writer(file).writerow(row)


def save(run, args):
    """The averaged weights and the state to resume from, each replaced in one go."""
    save_weights(run, args, "ema.safetensors")
    with whole(args.out / "state.pt") as partial:
        torch.save(run.state(), partial)


def save_weights(run, args, name):
    """The averaged weights in fp16."""
    weights = {name: tensor.half() for name, tensor in run.ema.state_dict().items()}
    checkpoint.save(weights, configuration(args.size), args.out / name)


def save_samples(run, args):
    """16 unconditional samples of the averaged model, the same noise every time, and the model."""
    save_weights(run, args, f"ema-{run.seen}.safetensors")
    model = DiffusionModel(run.ema, configuration(args.size))
    images = to_images(sample(model, range(16)))
    rows = [images[i : i + 4] for i in range(0, 16, 4)]
    contact_sheet(rows).save(args.out / f"samples-{run.seen}.png")


if __name__ == "__main__":
    main()
