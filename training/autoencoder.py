"""Trains the autoencoder of the latent model: `python -m training.autoencoder --minutes 30`.

Stop it with Ctrl-C; the same command goes on from there. `--decoder-only` leaves the latents
as they are; with `--painter MODEL` the decoder learns from latents that this model paints, too.
"""

import argparse
import copy
import math
import time
from dataclasses import dataclass
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
from training.grain import FLOOR, amplified, gains, grain, levels
from training.train import has_bfloat16

PAINTED, PAINTED_BATCH = 256, 16  # pictures of each kind that a model paints
KINDS = 16, None  # N at which ILVR remakes scenes; None: with no reference
SEEDS = 1_000_000  # of the first; the samples that are measured have others
STRIP = 80  # pixels, the height of what is cut from painted pictures in their whole width
RIM = 16  # pixels of it above and below that are not compared
SCENES = 24  # of each file, whose detail is measured
WARM_UP = 200  # steps in which the decoder comes to listen to the critic
NOISE = 0.05  # standard deviation of what is added to latents
AVERAGED = 0.99  # decay per step
KEPT_WITHIN = 2.5  # latents beyond it are pulled back


@dataclass
class Run:
    """What training changes; `averaged` is a moving average of the model's weights."""

    model: Autoencoder
    averaged: Autoencoder
    optimiser: torch.optim.AdamW
    critic: "Critic"
    seen: int = 0
    steps: int = 0
    seconds: float = 0.0

    def state(self):
        return vars(self) | {name: getattr(self, name).state_dict() for name in LEARNING}

    def restore(self, state):
        for name, value in state.items():
            if name in LEARNING:
                getattr(self, name).load_state_dict(value)
            else:
                setattr(self, name, value)


LEARNING = "model", "averaged", "optimiser", "critic"


def main():
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = begun(args, device)
    state = args.out / "autoencoder-state.pt"
    if state.exists():
        run.restore(torch.load(state, map_location=device))
        print(f"Going on after {run.seen} crops.", flush=True)
    try:
        train(run, args, device)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from there.")
    save(run, args)


def begun(args, device):
    model = Autoencoder().to(device)
    if args.init:
        model = Autoencoder.of({k: v.float() for k, v in load_file(args.init).items()}).to(device)
    model.to(memory_format=torch.channels_last)  # four times as fast in bfloat16 on a CPU
    model.taesd_encoder.requires_grad_(not args.decoder_only)
    model.vae_scale.requires_grad_(False)
    model.vae_shift.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.0, betas=(0.9, 0.99))
    averaged = copy.deepcopy(model).requires_grad_(False)
    return Run(model, averaged, optimiser, Critic(args.lr, device))


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="landscapes-256", help="folder in training/runs/")
    parser.add_argument("--scenes", type=Path, default=Path("training/runs/scenes"))
    parser.add_argument("--init", type=Path, help="weights (.safetensors) to start from")
    parser.add_argument("--decoder-only", action="store_true", help="hold the encoder still")
    parser.add_argument("--painter", type=Path, help="a model's file; it paints latents")
    parser.add_argument("--minutes", type=float, default=30, help="pauses not counted")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=96, help="pixels, a multiple of 16")
    parser.add_argument("--lr", type=float, default=5e-4, help="peak learning rate")
    parser.add_argument("--detail", type=float, default=0.1, help="weight of the local detail")
    parser.add_argument("--save-every", type=float, default=2, help="minutes")
    parser.add_argument("--threads", type=int, help="CPU threads")
    args = parser.parse_args()
    if args.painter and not args.decoder_only:
        parser.error("--painter teaches the decoder only: give --decoder-only too.")
    args.out = Path(__file__).parent / "runs" / args.name
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


def train(run, args, device):
    rng = np.random.default_rng(run.seen)
    torch.manual_seed(run.seen)
    pictures, losses = data.scenes(args.scenes), []
    kinds = args.painter and painted(pictures, args, device)
    now = saved = time.time()
    while (done := run.seconds / 60 / args.minutes) < 1:
        rate = min(run.steps / 50 + 0.02, 1) * (1 + math.cos(math.pi * done)) / 2
        run.optimiser.param_groups[0]["lr"] = args.lr * rate
        turn = run.steps % (5 if args.painter else 3)
        if turn > 2:
            given = strips(pictures, *kinds[turn - 3], args.batch // 2, rng)
            loss_of = partial(painted_criterion, critic=run.critic)
        else:
            given = (data.crops(pictures, args.batch, args.crop, rng),)
            loss_of = partial(criterion, coarse=turn == 0, detail=args.detail)
        given = (part.to(device, memory_format=torch.channels_last) for part in given)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device)):
            loss = loss_of(run.model, *given)
        update(run, loss)
        losses.append(loss.item())
        run.seen += args.batch
        before, now = now, time.time()
        run.seconds += now - before
        if now - saved > 60 * args.save_every:
            save(run, args)
            print(f"{run.seen} crops: {np.mean(losses):.4f}", flush=True)
            saved, losses, pictures = now, [], data.scenes(args.scenes)


def update(run, loss):
    """A step with clipped gradients, then the moving average of the weights."""
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimiser.step()
    run.optimiser.zero_grad()
    run.steps += 1
    decay = min(AVERAGED, run.steps / (run.steps + 10))
    torch._foreach_lerp_(list(run.averaged.parameters()), list(run.model.parameters()), 1 - decay)


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
    """How many decades of energy are apart in windows of 8x8, half over each other.

    Squared errors alone are least where detail that cannot be told is left out; this asks for as
    much of it as there was, wherever it lies, and in decades for faint detail as for strong.
    """
    loss = 0
    for parts in zip(levels(decoded), levels(x), strict=True):
        ours, theirs = (F.avg_pool2d(part.square(), 8, 4) + FLOOR for part in parts)
        loss = loss + (ours.log10() - theirs.log10()).abs().mean()
    return loss


def painted(shards, args, device):
    """For each of KINDS latents (N, C, H, W) that a model paints, at most PAINTED, and the pictures
    (N, 3, 8H, 8W) that its own decoder makes of them, with as much fine detail as scenes have in
    the mean; kept in `painted.pt`."""
    path = args.out / "painted.pt"
    if path.exists():
        return torch.load(path)
    dtype = torch.bfloat16 if has_bfloat16(device) else torch.float32
    model, found = load(args.painter, device, dtype), []
    wanted = typical(shards)
    for kind in KINDS:
        latents, pictures = [], []
        count = min(PAINTED, len(shards) * data.SHARD)
        for first in tqdm(range(0, count, PAINTED_BATCH), f"Painting at N = {kind}"):
            seeds = range(SEEDS + first, SEEDS + first + PAINTED_BATCH)
            given = {}
            if kind:
                scenes = [scene(shards, index) for index in range(first, first + PAINTED_BATCH)]
                reference = NoisedReference(model.encode(data.tensor(np.stack(scenes)).to(device)))
                refinement = Refinement(reference, LowPassFilter(kind))
                given = {"refinement": refinement, "start": "reference"}
            *_, last = steps(model, seeds, **given)
            latents.append(last.x.float().cpu())
            pictures.append(model.decode(last.x).float().cpu())
        pictures = torch.cat(pictures)
        found.append((torch.cat(latents), amplified(pictures, gains(pictures, wanted)).half()))
    torch.save(found, path)
    return found


def typical(shards):
    """The energies of `grain` (16,) that scenes have in the mean."""
    return torch.cat([grain(data.tensor(shard[:SCENES])) for shard in shards]).mean(0)


def scene(shards, index):
    return shards[index // data.SHARD][index % data.SHARD]


def strips(shards, latents, pictures, count, rng):
    """Latents (count, C, STRIP / 8, W / 8), their pictures (count, 3, STRIP - 2 RIM, W) and as much
    of other scenes at the same height, W pixels being the whole width; the pictures and the scenes
    without the upper and lower RIM rows."""
    z, kept, x = [], [], []
    for index in rng.integers(len(latents), size=count):
        top = COMPRESSION * rng.integers((pictures.shape[-2] - STRIP) // COMPRESSION + 1)
        inner = slice(top + RIM, top + STRIP - RIM)
        z.append(latents[index, :, top // COMPRESSION : (top + STRIP) // COMPRESSION])
        kept.append(pictures[index, :, inner].float())
        x.append(scene(shards, rng.integers(len(shards) * data.SHARD))[inner])
    return torch.stack(z), torch.stack(kept), data.tensor(np.stack(x))


def painted_criterion(model, z, kept, x, critic):
    """The loss of latents z whose picture has to be `kept` and to pass for one of the scenes x
    where it is looked at closely."""
    decoded = model.decode(z).float()[..., RIM:-RIM, :]  # where no edge is near
    loss = fidelity(decoded, kept)
    return loss + critic.loss(decoded, x, loss, model.taesd_decoder[-1].weight)


class Critic:
    """Tells patches of scenes from those that are decoded, in 26 pixels: an adversarial loss
    (hinge, Lim and Ye 2017, Miyato et al. 2018) as strong as the other at the decoder's last
    weights (Esser et al. 2021, equation 7)."""

    def __init__(self, lr, device):
        layers = []
        for before, after, size in (3, 48, 4), (48, 96, 4), (96, 96, 3), (96, 1, 3):
            convolution = nn.Conv2d(before, after, size, stride=size // 2, padding=1)
            layers += [spectral_norm(convolution), nn.LeakyReLU(0.2)]
        self.network = nn.Sequential(*layers[:-1]).to(device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr, betas=(0.5, 0.99))
        self.steps = 0

    def state_dict(self):
        parts = self.network.state_dict(), self.optimiser.state_dict(), self.steps
        return dict(zip(("network", "optimiser", "steps"), parts, strict=True))

    def load_state_dict(self, state):
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = state["steps"]

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


def save(run, args):
    """The averaged weights in fp16 and the state to resume from, each replaced in one go."""
    weights = {k: tensor.half().contiguous() for k, tensor in run.averaged.state_dict().items()}
    with whole(args.out / "autoencoder.safetensors") as partial:
        save_file(weights, partial, metadata={"crops": str(run.seen)})
    with whole(args.out / "autoencoder-state.pt") as partial:
        torch.save(run.state(), partial)


if __name__ == "__main__":
    main()
