"""Gives what a model paints as much fine detail as scenes have, in the mean, by its decoder's last
convolution alone: `python -m training.detail --init FILE --painter MODEL`.

The detail of its samples is amplified, each level of brightness and of colour by what it lacks;
least squares find the weights that do so, and `--share` of the way there is gone, as all of it
costs the accuracy of encoded pictures.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from ilvr.autoencoder import Autoencoder
from ilvr.disk import whole
from training import data
from training.autoencoder import painted, typical
from training.grain import amplified, gains, laplacian, opponents

PICTURES, FITTED, PIXELS = 128, 40, 2500  # painted, of these in the fit, and pixels of each
FLAT = 1e-4  # energy below which a pixel's detail does not lower its weight further


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="landscapes-256", help="folder in training/runs/")
    parser.add_argument("--scenes", type=Path, default=Path("training/runs/scenes"))
    parser.add_argument("--init", type=Path, required=True, help="the decoder's file")
    parser.add_argument("--painter", type=Path, required=True, help="the model's file")
    parser.add_argument("--share", type=float, default=0.8, help="of the missing detail")
    args = parser.parse_args()
    args.out = Path(__file__).parent / "runs" / args.name
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    scenes = data.scenes(args.scenes)
    _, (latents, _) = painted(scenes, args, torch.device("cpu"))
    model = Autoencoder.of({k: v.float() for k, v in load_file(args.init).items()})
    with torch.inference_mode():
        fit(model, latents[:PICTURES], typical(scenes), args.share)
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    with whole(args.out / "autoencoder.safetensors") as partial:
        save_file(weights, partial)


def fit(model, latents, wanted, share):
    """Changes the last convolution in place; `wanted`: (16,) energies of scenes in the mean."""
    pictures = torch.cat([model.decode(z) for z in latents.split(1)])
    goal = amplified(pictures, gains(pictures, wanted))
    rows, changes = [], []
    for z, picture, change in zip(latents[:FITTED], pictures, goal - pictures):
        seen = model.taesd_decoder[:-1]((z[None] - model.vae_shift) * model.vae_scale)
        patches = torch.cat([F.unfold(seen, 3, padding=1)[0], torch.ones(1, picture[0].numel())])
        finest = laplacian(opponents(picture[None]), 1)[0]
        energy = finest.square().sum(1, keepdim=True)
        weight = (F.avg_pool2d(energy, 9, 1, 4).flatten() + FLAT).rsqrt()
        inner = torch.zeros(picture.shape[1] - 2, picture.shape[2] - 2)
        border = F.pad(inner, (1, 1, 1, 1), value=1).flatten().nonzero()[:, 0]  # beside nothing
        chosen = torch.cat([torch.randperm(len(weight))[:PIXELS], border])
        rows.append((patches * weight)[:, chosen].T.double())
        changes.append((change.flatten(1) * weight)[:, chosen].T.double() / 2)  # from 0 to 1
    rows, changes = torch.cat(rows), torch.cat(changes)
    normal = rows.T @ rows
    normal += 1e-7 * normal.diagonal().mean() * torch.eye(len(normal))
    found = share * torch.linalg.solve(normal, rows.T @ changes).T.to(pictures)
    last = model.taesd_decoder[-1]
    last.weight += found[:, :-1].view_as(last.weight)
    last.bias += found[:, -1]


if __name__ == "__main__":
    main()
