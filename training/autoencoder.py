"""Trains the autoencoder of the latent model: `python -m training.autoencoder --minutes 30`.

Stop it with Ctrl-C; the same command goes on from there. `--decoder-only` leaves the latents
as they are; with `--remade MODEL` the decoder learns from latents that this model paints, too.
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from tqdm import tqdm

from ilvr import LowPassFilter, NoisedReference, Refinement, load, steps
from ilvr.autoencoder import COMPRESSION, Autoencoder
from ilvr.disk import whole
from training import data
from training.train import has_bfloat16

REMADE, REMADE_BATCH = 1024, 16  # scenes that ILVR remakes
REMADE_FACTORS = 16, 64  # what they keep of their scenes, in turn
COARSE = 16  # pixels
REMADE_DETAIL = 3  # times the weight of the local detail
WARM_UP = 200  # steps in which the decoder comes to listen to the critic
NOISE = 0.05  # standard deviation of what is added to latents
KEPT_WITHIN = 2.5  # latents beyond it are pulled back


def main():
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Autoencoder().to(device)
    if args.init:
        model = Autoencoder.of({k: v.float() for k, v in load_file(args.init).items()}).to(device)
    model.to(memory_format=torch.channels_last)  # four times as fast in bfloat16 on a CPU
    model.taesd_encoder.requires_grad_(not args.decoder_only)
    model.vae_scale.requires_grad_(False)
    model.vae_shift.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.0, betas=(0.9, 0.99))
    progress = {"seen": 0, "seconds": 0.0, "steps": 0}
    state = args.out / "autoencoder-state.pt"
    if state.exists():
        left = torch.load(state, map_location=device)
        model.load_state_dict(left["model"])
        optimiser.load_state_dict(left["optimiser"])
        progress = left["progress"]
        print(f"Going on after {progress['seen']} crops.", flush=True)
    try:
        train(model, optimiser, progress, args, device)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from there.")
    save(model, optimiser, progress, args)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="landscapes-256", help="folder in training/runs/")
    parser.add_argument("--scenes", type=Path, default=Path("training/runs/scenes"))
    parser.add_argument("--init", type=Path, help="weights (.safetensors) to start from")
    parser.add_argument("--decoder-only", action="store_true", help="hold the encoder still")
    parser.add_argument("--remade", type=Path, help="a model's file; its ILVR paints latents")
    parser.add_argument("--minutes", type=float, default=30, help="pauses not counted")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=96, help="pixels, a multiple of 16")
    parser.add_argument("--lr", type=float, default=5e-4, help="peak learning rate")
    parser.add_argument("--detail", type=float, default=0.1, help="weight of the local detail")
    parser.add_argument("--save-every", type=float, default=2, help="minutes")
    parser.add_argument("--threads", type=int, help="CPU threads")
    args = parser.parse_args()
    if args.remade and not args.decoder_only:
        parser.error("--remade teaches the decoder only: give --decoder-only too.")
    args.out = Path(__file__).parent / "runs" / args.name
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


def train(model, optimiser, progress, args, device):
    rng = np.random.default_rng(progress["seen"])
    torch.manual_seed(progress["seen"])
    pictures, losses = data.scenes(args.scenes), []
    painted = args.remade and remade(pictures, args, device)
    critic = Critic(args.lr, device)
    now = saved = time.time()
    while (done := progress["seconds"] / 60 / args.minutes) < 1:
        rate = min(progress["steps"] / 50 + 0.02, 1) * (1 + math.cos(math.pi * done)) / 2
        optimiser.param_groups[0]["lr"] = args.lr * rate
        turn = progress["steps"] % (5 if args.remade else 3)
        if turn > 2:
            given = remade_crops(pictures, *painted, args.batch, args.crop, rng)
            loss_of = partial(remade_criterion, critic=critic)
        else:
            given = (data.crops(pictures, args.batch, args.crop, rng),)
            loss_of = partial(criterion, coarse=turn == 0)
        given = (part.to(device, memory_format=torch.channels_last) for part in given)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device)):
            loss = loss_of(model, *given, detail=args.detail)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        progress["seen"] += args.batch
        progress["steps"] += 1
        before, now = now, time.time()
        progress["seconds"] += now - before
        if now - saved > 60 * args.save_every:
            save(model, optimiser, progress, args)
            print(f"{progress['seen']} crops: {np.mean(losses):.4f}", flush=True)
            saved, losses, pictures = now, [], data.scenes(args.scenes)


def criterion(model, x, coarse, detail):
    """The loss of pictures (B, 3, H, W) in [-1, 1]; `coarse`: of their halves from halved latents.

    The second keeps the low frequencies of latents those of pictures, which ILVR relies on.
    """
    z = model.encode(x)
    loss = 0.02 * F.relu(z.float().abs() - KEPT_WITHIN).mean()
    if coarse:
        x, z = F.avg_pool2d(x, 2), F.avg_pool2d(z, 2)
    decoded = model.decode(z + NOISE * torch.randn_like(z)).float()
    return loss + fidelity(decoded, x) + (0 if coarse else detail * local_detail(decoded, x))


def fidelity(decoded, x):
    """Absolute and squared error, and the absolute error of both gradients."""
    error = decoded - x
    loss = error.abs().mean() + 2 * error.square().mean()
    return loss + error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()


def local_detail(decoded, x):
    """How many decades of energy are apart in windows of 8x8.

    Squared errors alone are least where detail that cannot be told is left out; this asks for as
    much of it as there was, wherever it lies, and in decades for faint detail as for strong.
    """
    return sum(apart.abs().mean() for apart in decades(decoded, x, (8, 8, 8)))


def decades(decoded, x, windows):
    """log10 of the energy of the one over that of the other, of Laplacian levels of brightness and
    of two colour differences; `windows`, half over each other: their sides in pixels of each level,
    the finest first."""
    decoded, x = (
        torch.stack([p.mean(1), p[:, 0] - p[:, 1], p[:, 2] - p[:, 1]], 1) for p in (decoded, x)
    )
    for size in windows:
        low = [F.avg_pool2d(picture, 2) for picture in (decoded, x)]
        detail = [
            picture - F.interpolate(half, scale_factor=2, mode="bilinear")
            for picture, half in zip((decoded, x), low, strict=True)
        ]
        ours, theirs = (F.avg_pool2d(part.square(), size, size // 2) for part in detail)
        yield (ours + 1e-5).log10() - (theirs + 1e-5).log10()
        decoded, x = low


def remade(shards, args, device):
    """(N, C, H, W) latents that ILVR made of at most REMADE scenes, and what its own decoder
    paints of them in squares of COARSE pixels, (N, 3, h, w); kept in `remade.pt`."""
    path = args.out / "remade.pt"
    if path.exists():
        return torch.load(path)
    dtype = torch.bfloat16 if has_bfloat16(device) else torch.float32
    model, latents, coarse = load(args.remade, device, dtype), [], []
    count = min(REMADE, len(shards) * data.SHARD)
    for first in tqdm(range(0, count, REMADE_BATCH), "Remaking scenes"):
        seeds = range(first, first + REMADE_BATCH)
        scenes = data.tensor(np.stack([scene(shards, seed) for seed in seeds]))
        reference = NoisedReference(model.encode(scenes.to(device)))
        factor = REMADE_FACTORS[first // REMADE_BATCH % len(REMADE_FACTORS)]
        refinement = Refinement(reference, LowPassFilter(factor))
        *_, last = steps(model, seeds, refinement, start="reference")
        latents.append(last.x.float().cpu())
        coarse.append(F.avg_pool2d(model.decode(last.x).float(), COARSE).cpu())
    painted = torch.cat(latents), torch.cat(coarse)
    torch.save(painted, path)
    return painted


def scene(shards, index):
    return shards[index // data.SHARD][index % data.SHARD]


def remade_crops(shards, latents, coarse, count, size, rng):
    """Latents (count, C, size / 8, size / 8), what is kept of them in squares of COARSE pixels,
    and (count, 3, size, size) of their scenes."""
    z, kept, x = [], [], []
    for index in rng.integers(len(latents), size=count):
        corner = COARSE * rng.integers(0, coarse.shape[-1] - size // COARSE + 1, 2)
        for parts, source, cell in (z, latents, COMPRESSION), (kept, coarse, COARSE):
            parts.append(source[(index, slice(None), *window(corner // cell, size // cell))])
        x.append(scene(shards, index)[window(corner, size)])
    return torch.stack(z), torch.stack(kept), data.tensor(np.stack(x))


def window(corner, size):
    return tuple(slice(first, first + size) for first in corner)


def remade_criterion(model, z, kept, x, detail, critic):
    """The loss of latents z whose picture has to be `kept` in the coarse, to have as much detail
    as x, not the same, and to pass for a scene where it is looked at closely."""
    decoded = model.decode(z).float()
    apart = decades(decoded, x, [x.shape[-1] >> level for level in range(3)])  # of the whole crop
    loss = fidelity(F.avg_pool2d(decoded, COARSE), kept)
    loss = loss + REMADE_DETAIL * detail * sum(part.square().mean() for part in apart)
    return loss + critic.loss(decoded, x, loss, model.taesd_decoder[-1].weight)


class Critic:
    """Tells patches of scenes from those that are decoded, in 26 pixels: an adversarial loss
    (hinge, Lim and Ye 2017, Miyato et al. 2018) as strong as the other at the decoder's last
    weights (Esser et al. 2021, equation 7). A run that goes on begins with a new one."""

    def __init__(self, lr, device):
        layers = []
        for before, after, size in (3, 48, 4), (48, 96, 4), (96, 96, 3), (96, 1, 3):
            convolution = nn.Conv2d(before, after, size, stride=size // 2, padding=1)
            layers += [spectral_norm(convolution), nn.LeakyReLU(0.2)]
        self.network = nn.Sequential(*layers[:-1]).to(device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr, betas=(0.5, 0.99))
        self.steps = 0

    def loss(self, decoded, x, other, last):
        """Learns from decoded and x (B, 3, H, W); returns the loss of `decoded`, weighed by the
        gradients of it and of `other` at the weights `last`."""
        real, fake = self.network(x).float(), self.network(decoded.detach()).float()
        (F.relu(1 - real).mean() + F.relu(1 + fake).mean()).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.steps += 1

        self.network.requires_grad_(False)
        loss = -self.network(decoded).float().mean()
        self.network.requires_grad_(True)
        ours, theirs = (
            torch.autograd.grad(part, last, retain_graph=True)[0].float().norm()
            for part in (loss, other)
        )
        return min(self.steps / WARM_UP, 1) * (theirs / (ours + 1e-6)).clamp(max=10) * loss


def save(model, optimiser, progress, args):
    """The weights in fp16 and the state to resume from, each replaced in one go."""
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    with whole(args.out / "autoencoder.safetensors") as partial:
        save_file(weights, partial, metadata={"crops": str(progress["seen"])})
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    with whole(args.out / "autoencoder-state.pt") as partial:
        torch.save(state | {"progress": progress}, partial)


if __name__ == "__main__":
    main()
