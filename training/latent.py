"""Trains the network of the latent model, which predicts v: `python -m training.latent --hours 1`.

It needs the scenes of `training.data` and the weights of `training.autoencoder`. Stop it with
Ctrl-C; the same command goes on from there.
"""

import argparse
import copy
import itertools
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from ilvr import Configuration, NoiseSchedule
from ilvr.autoencoder import COMPRESSION, Autoencoder
from ilvr.disk import whole
from ilvr.unet import UNet
from training import data
from training.loss import Posterior, at
from training.train import Run, has_bfloat16, update

CONFIGURATION = Configuration(
    model_channels=64,
    channel_mult=(1, 2, 2),
    num_res_blocks=1,
    attention_rates=(4,),
    in_channels=4,
    learn_sigma=False,
    image_size=32,
    num_head_channels=32,
    norm_groups=16,
)
LEVELS = 20  # bins of the timesteps, each with its own mean error


class Balance:
    """Weights that make errors of all noise levels count alike: each over its running mean."""

    def __init__(self, device):
        self.mean = torch.ones(LEVELS, device=device)

    def weighted(self, t, errors):
        """(B,) steps of 1000 and their (B,) errors -> the errors over the means of their levels."""
        level = t * LEVELS // 1000
        for i, error in zip(level.tolist(), errors.detach(), strict=True):
            self.mean[i] = torch.lerp(self.mean[i], error, 0.02)
        return errors / self.mean[level]


def main():
    args = parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    latents = encoded(args, device)
    run = start(args, device)
    try:
        train(run, latents, args, device)
    except KeyboardInterrupt:
        print(f"Stopped after {run.seen} latents; the same command goes on from there.")
    save(run, args)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="landscapes-256", help="folder in training/runs/")
    parser.add_argument("--scenes", type=Path, default=Path("training/runs/scenes"))
    parser.add_argument("--latents", type=int, help="how many to encode; default: all, both ways")
    parser.add_argument("--autoencoder", type=Path, help="for the model's file, with this encoder")
    parser.add_argument("--init", type=Path, help="a network or whole model to start from")
    parser.add_argument("--images-total", type=int, default=1_000_000, help="latents to train on")
    parser.add_argument("--hours", type=float, help="train that long instead, pauses not counted")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=8e-4, help="peak learning rate")
    parser.add_argument("--lr-floor", type=float, default=0.02, help="share of it at the end")
    parser.add_argument("--ema", type=float, default=0.9995, help="decay per step")
    parser.add_argument("--save-every", type=float, default=2, help="minutes")
    parser.add_argument("--threads", type=int, help="CPU threads")
    args = parser.parse_args()
    args.out = Path(__file__).parent / "runs" / args.name
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


def weights_of(path) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in load_file(path).items()}


def encoded(args, device) -> torch.Tensor:
    """(N, C, H, W) latents of the scenes and, after them, of their mirror images.

    Kept in `latents.pt`; delete it when the encoder or the scenes have changed. The autoencoder
    is first made to give latents of mean 0 and variance 1, channel by channel.
    """
    path = args.out / "latents.pt"
    if path.exists():
        return torch.load(path)
    file = args.out / "autoencoder.safetensors"
    autoencoder = Autoencoder.of(weights_of(file)).requires_grad_(False)
    autoencoder.to(device, memory_format=torch.channels_last)
    normalise(autoencoder, encode(autoencoder, pictures(args, 128), device))
    halves = {k: v.half().contiguous() for k, v in autoencoder.state_dict().items()}
    replaced(halves, {}, file)
    latents = encode(autoencoder, pictures(args, args.latents), device)
    torch.save(latents, path)
    return latents


def pictures(args, count):
    """(1, 256, 256, 3) uint8 arrays: at most `count`, or all, of the scenes and mirrored scenes."""
    shards = data.scenes(args.scenes)
    every = (s[i : i + 1, :, ::way] for way in (1, -1) for i in range(data.SHARD) for s in shards)
    return itertools.islice(every, count)


def encode(autoencoder, scenes, device) -> torch.Tensor:
    latents = []
    for scene in tqdm(scenes, "Encoding"):
        x = data.tensor(scene.copy()).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            latents.append(autoencoder.encode(x).float().cpu())
    return torch.cat(latents)


def normalise(autoencoder, latents):
    """Moves the mean and deviation of these latents into the first and last layer they meet.

    Within the picture the decoder then sees what it saw, save for its soft clamp at 3, and at the
    border, where a cell outside is now one of mean 0; `training.autoencoder --decoder-only` after
    this accustoms it to both.
    """
    mean, std = (moment.to(latents) for moment in (latents.mean((0, 2, 3)), latents.std((0, 2, 3))))
    last, first = autoencoder.taesd_encoder[-1], autoencoder.taesd_decoder[1]
    last.weight /= std[:, None, None, None]
    last.bias.copy_((last.bias - mean) / std)
    first.bias += first.weight.sum((2, 3)) @ mean
    first.weight *= std[None, :, None, None]


def start(args, device) -> Run:
    """A run as it was left, or a new one from `--init` or from nothing."""
    model = UNet(CONFIGURATION).to(device)
    if args.init:
        given = {k.removeprefix("network."): v for k, v in weights_of(args.init).items()}
        model.load_state_dict({name: given[name] for name in model.state_dict()})
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.0)
    run = Run(model, copy.deepcopy(model).requires_grad_(False), optimiser)
    if (args.out / "state.pt").exists():
        run.load_state(torch.load(args.out / "state.pt", map_location=device))
        print(f"Going on after {run.seen} latents.", flush=True)
    return run


def train(run, latents, args, device):
    posterior, balance = Posterior(NoiseSchedule.linear(), device), Balance(device)
    rng = np.random.default_rng(run.seen)
    torch.manual_seed(run.seen)
    now = saved = time.time()
    losses = []
    with run.progress(args) as progress:
        while run.done(args) < 1:
            chosen = torch.from_numpy(rng.integers(len(latents), size=args.batch))
            losses.append(step(run, latents[chosen].to(device), posterior, balance, args))
            run.seen += args.batch
            before, now = now, time.time()
            run.seconds += now - before
            progress.update(int(run.seconds if args.hours else run.seen) - progress.n)
            if now - saved > 60 * args.save_every:
                save(run, args)
                print(f"\n{run.seen} latents: error of v {np.mean(losses):.4f}", flush=True)
                saved, losses = now, []


def step(run, clean, posterior, balance, args) -> float:
    """One optimiser step on latents (B, C, H, W) -> the squared error of v, even over t."""
    t = torch.randint(len(posterior.signal), (len(clean),), device=clean.device)
    eps = torch.randn_like(clean)
    signal, noise = at(posterior.signal, t), at(posterior.noise, t)
    device = clean.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=has_bfloat16(clean.device)):
        v = run.model(signal * clean + noise * eps, t).float()
    errors = (v - (signal * eps - noise * clean)).square().mean((1, 2, 3))
    balance.weighted(t, errors).mean().backward()
    update(run, args)
    return errors.mean().item()


def save(run, args):
    """`network.safetensors`, `model.safetensors` with the autoencoder too, the state to resume."""
    weights = {name: tensor.half().contiguous() for name, tensor in run.ema.state_dict().items()}
    config = asdict(CONFIGURATION) | {"prediction": "v", "compression": COMPRESSION}
    metadata = {"config": json.dumps(config), "latents_seen": str(run.seen)}
    replaced(weights, metadata, args.out / "network.safetensors")
    network = {f"network.{name}": tensor for name, tensor in weights.items()}
    autoencoder = load_file(args.autoencoder or args.out / "autoencoder.safetensors")
    replaced(network | autoencoder, metadata, args.out / "model.safetensors")
    with whole(args.out / "state.pt") as partial:
        torch.save(run.state(), partial)


def replaced(tensors, metadata, path):
    with whole(path) as partial:
        save_file(tensors, partial, metadata=metadata)


if __name__ == "__main__":
    main()
