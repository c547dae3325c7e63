"""Makes layouts.npz by running diffusers and rosinality's code; see README.md.

`python tests/data/make_layouts.py ROSINALITY DIFFUSERS_0_1_1 DDIM` from the root of this
repository, with diffusers and pydantic installed. The arguments are clones: of
rosinality/denoising-diffusion-pytorch, of huggingface/diffusers at its tag 0.1.1, and of
ermongroup/ddim, whose network has the names of pesser/pytorch_diffusion's.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tests.core.tiny import weights  # noqa: E402

HO = {  # what google's models have in common
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}


def unet2d(widths, attended, layers=2, plain="{}Block2D", **rest):
    """Arguments of UNet2DModel with attention at the levels `attended`."""
    names = {"down_block_types": "Down", "up_block_types": "Up"}
    blocks = {
        key: [
            f"Attn{way}Block2D" if level in attended else plain.format(way)
            for level in range(len(widths))
        ]
        for key, way in names.items()
    }
    blocks["up_block_types"].reverse()
    return {"block_out_channels": widths, "layers_per_block": layers, **blocks, **rest}


TINY = {
    "google": unet2d([32, 32, 64], [1], sample_size=16, **HO),
    "unpadded heads": unet2d([32, 64], [0, 1], 1, **{**HO, "attention_head_dim": 16}),
    "training script": unet2d([32, 64, 64], [1]),
    "other norms": unet2d([32, 48], [1], 1, norm_num_groups=16, norm_eps=1e-3, freq_shift=1),
    "resnet resampling": unet2d(
        [32, 64, 64],
        [1, 2],
        1,
        "Resnet{}sampleBlock2D",
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attn_norm_num_groups=32,
        out_channels=6,
        num_class_embeds=7,
    ),
}
SCHEDULERS = {
    "google": {},
    "training script": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.0005,
        "beta_end": 0.02,
        "num_train_timesteps": 500,
    },
    "resnet resampling": {"beta_schedule": "squaredcos_cap_v2"},
}
PUBLISHED = {
    "google 256": unet2d([128, 128, 256, 256, 512, 512], [4], sample_size=256, **HO),
    "google cifar10": unet2d([128, 256, 256, 256], [1], sample_size=32, **HO),
}
ROSINALITY_TINY = {
    "one head": ([1, 2, 2], 2, [2], 1, False),
    "affine time, four heads": ([1, 2], 1, [1, 2], 4, True),
}
ROSINALITY_PUBLISHED = {
    "diffusion.conf": ([1, 1, 2, 2, 4, 4], 2, [16], 1, False),
    "improved.conf": ([1, 1, 2, 2, 4, 4], 2, [8, 16], 4, True),
}

DDIM = {  # channels, their multipliers, blocks, resolutions with attention, size
    "tiny": (32, [1, 2], 1, [8], 16),
    "celeba_hq": (128, [1, 1, 2, 2, 4, 4], 2, [16], 256),
}


def shapes(network):
    return {
        name: tuple(v.shape) for name, v in network.state_dict().items() if "inv_freq" not in name
    }


def keys(network):
    return np.array([f"{key} {' '.join(map(str, v))}" for key, v in shapes(network).items()])


def with_weights(network):
    network.load_state_dict(weights(shapes(network)), strict=False)
    return network.eval().requires_grad_(False)


def trajectory(predict, scheduler, start):
    scheduler.set_timesteps(10)
    states, x = [], start
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, t), t, x, use_clipped_model_output=True).prev_sample
        states.append(x.numpy())
    return np.stack(states)


def of_diffusers(data, x, t, start):
    from diffusers import DDIMScheduler, UNet2DModel

    for name, arguments in TINY.items():
        network = with_weights(UNet2DModel(**arguments))
        y = torch.tensor([1, 4]) if "num_class_embeds" in arguments else None
        data[f"diffusers/{name}/config"] = json.dumps(dict(network.config))
        data[f"diffusers/{name}/keys"] = keys(network)
        data[f"diffusers/{name}/output"] = network(x, t, y).sample.numpy()
        if name in SCHEDULERS:
            scheduler = DDIMScheduler(**SCHEDULERS[name])

            def predict(x, t, network=network, y=y):
                return network(x, t, None if y is None else y[1:]).sample[:, :3]

            data[f"diffusers/{name}/scheduler"] = json.dumps(dict(scheduler.config))
            data[f"diffusers/{name}/trajectory"] = trajectory(predict, scheduler, start)
    for name, arguments in PUBLISHED.items():
        with torch.device("meta"):
            data[f"diffusers/{name}/keys"] = keys(UNet2DModel(**arguments))


def of_diffusers_0_1_1(clone):
    """The names of google's models as they were saved in 2022; prints them."""
    import huggingface_hub

    for name in ("HfFolder", "Repository", "cached_download"):
        if not hasattr(huggingface_hub, name):
            setattr(huggingface_hub, name, object)
    sys.path.insert(0, str(Path(clone) / "src"))
    from diffusers.models.unet_2d import UNet2DModel

    print("\n".join(keys(UNet2DModel(**PUBLISHED["google cifar10"]))))


def of_rosinality(data, clone, x, t, start):
    from diffusers import DDIMScheduler

    sys.path.insert(0, clone)
    from model import UNet

    for name, (mult, blocks, strides, heads, affine) in ROSINALITY_TINY.items():
        network = with_weights(UNet(3, 32, mult, blocks, strides, heads, affine))
        data[f"rosinality/{name}/keys"] = keys(network)
        data[f"rosinality/{name}/output"] = network(x, t).numpy()
        data[f"rosinality/{name}/trajectory"] = trajectory(
            lambda x, t, network=network: network(x, t[None].float()), DDIMScheduler(), start
        )
    for name, (mult, blocks, strides, heads, affine) in ROSINALITY_PUBLISHED.items():
        data[f"rosinality/{name}/keys"] = keys(UNet(3, 128, mult, blocks, strides, heads, affine))


def of_ddim(data, clone, x, t):
    """Its network takes squares of one size alone, so that x is cut to one."""
    sys.path.insert(0, clone)
    from models.diffusion import Model

    for name, (ch, ch_mult, blocks, resolutions, size) in DDIM.items():
        model = {
            "type": "simple", "in_channels": 3, "out_ch": 3, "ch": ch, "ch_mult": ch_mult,
            "num_res_blocks": blocks, "attn_resolutions": resolutions, "dropout": 0.0,
            "resamp_with_conv": True,
        }  # fmt: skip
        spaces = {
            "model": SimpleNamespace(**model),
            "data": SimpleNamespace(image_size=size),
            "diffusion": SimpleNamespace(num_diffusion_timesteps=1000),
        }
        with torch.device("meta" if ch > 32 else "cpu"):
            network = Model(SimpleNamespace(**spaces))
        data[f"pesser/{name}/keys"] = keys(network)
        if ch == 32:
            data[f"pesser/{name}/output"] = with_weights(network)(x[..., :size], t).numpy()


def main(rosinality, old, ddim):
    random = np.random.RandomState(0)
    x = random.randn(2, 3, 16, 24).astype(np.float32)
    start = random.randn(1, 3, 16, 16).astype(np.float32)
    data = {"x": x, "start": start}
    arguments = torch.from_numpy(x), torch.tensor([3.0, 871.0]), torch.from_numpy(start)
    of_diffusers(data, *arguments)
    of_rosinality(data, rosinality, *arguments)
    of_ddim(data, ddim, *arguments[:2])
    lines = subprocess.run(
        [sys.executable, __file__, old], check=True, capture_output=True, text=True
    ).stdout
    data["diffusers 0.1.1/google cifar10/keys"] = np.array(lines.splitlines())
    np.savez_compressed(Path(__file__).parent / "layouts.npz", **data)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        main(*sys.argv[1:])
    else:
        of_diffusers_0_1_1(sys.argv[1])
