"""Writes tests/data/fuzz: the small whole files that the fuzzer damages.

python -m tests.data.make_fuzz
"""

import json
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path

import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from ilvr import Configuration
from tests.core.tiny import state_dict

FOLDER = Path(__file__).parent / "fuzz"
TINY = Configuration(
    2, (1, 2), 1, (2,), norm_groups=1, num_head_channels=None, image_size=4, learn_sigma=False
)
PICTURE = Image.linear_gradient("L").resize((24, 16))
UNET2D = {
    "_class_name": "UNet2DModel", "sample_size": 4, "in_channels": 3, "out_channels": 3,
    "block_out_channels": [2, 4], "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "layers_per_block": 1,
    "attention_head_dim": None, "norm_num_groups": 1, "norm_eps": 1e-6, "freq_shift": 1,
    "flip_sin_to_cos": False, "downsample_padding": 0,
}  # fmt: skip
SCHEDULE = {
    "_class_name": "DDPMScheduler", "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule":
    "linear", "num_train_timesteps": 1000, "prediction_type": "epsilon", "trained_betas": None,
    "variance_type": "fixed_small",
}  # fmt: skip
INDEX = {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]}
OTHER_NAMES = {  # some keys of other layouts
    "diffusers": ["time_embedding.linear_1.weight", "down_blocks.0.resnets.0.norm1.weight",
                  "mid_block.attentions.0.to_q.weight", "mid_block.attentions.0.to_k.weight",
                  "mid_block.attentions.0.to_v.weight", "up_blocks.1.upsamplers.0.conv.weight"],
    "rosinality": ["time.3.weight", "down.1.resblocks.norm1.weight", "up.0.resblocks.conv1.weight"],
    "pesser": ["temb.dense.0.weight", "down.0.block.0.norm1.weight", "mid.attn_1.q.weight"],
}  # fmt: skip


def main():
    FOLDER.mkdir(exist_ok=True)
    checkpoints()
    pictures()
    for name, value in {
        "metadata": asdict(TINY),
        "resolutions": {"image_size": 4, "attention_resolutions": [2]},
        "unet": UNET2D, "scheduler": SCHEDULE, "index": INDEX,
    }.items():  # fmt: skip
        (FOLDER / f"{name}.json").write_text(json.dumps(value))


def checkpoints():
    state = state_dict(TINY)
    config = json.dumps(asdict(TINY))
    save_file(state, FOLDER / "model.safetensors", {"config": config})
    half = {name: value.half() for name, value in state.items()}
    content = {"step": 3, "model": half, "ema": half, "optimizer": {"state": {0: {"lr": 0.1}}}}
    torch.save(content, FOLDER / "training.pt")
    torch.save(half, FOLDER / "old.pt", _use_new_zipfile_serialization=False)
    packed = zipfile.ZipFile(FOLDER / "packed.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(FOLDER / "training.pt") as source, packed as target:
        for record in source.infolist():
            target.writestr(record.filename, source.read(record))
    shared = ()
    for _ in range(40):  # a key that takes for ever to be hashed
        shared = shared, shared
    (FOLDER / "shared.pt").write_bytes(b"\x80\x02}" + pickle.dumps(shared, 2)[2:-1] + b"Ns.")
    for name, keys in OTHER_NAMES.items():
        save_file({key: torch.ones(4, 4) for key in keys}, FOLDER / f"{name}.safetensors")


def pictures():
    colour = Image.merge("RGB", [PICTURE, PICTURE.rotate(180), PICTURE])
    for ending in ("jpg", "webp", "gif", "bmp", "tif", "ppm", "tga", "jp2", "avif"):
        colour.save(FOLDER / f"colour.{ending}")
    info = PngImagePlugin.PngInfo()
    info.add_text("ilvr", json.dumps({"factor": 8, "range": [1000, 0]}))
    colour.save(FOLDER / "parameters.png", pnginfo=info)
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(FOLDER / "upright.jpg", exif=exif)
    colour.convert("RGBA").save(FOLDER / "alpha.png")
    colour.quantize(4).save(FOLDER / "palette.png", transparency=0)
    PICTURE.convert("I;16").save(FOLDER / "deep.png")
    colour.convert("CMYK").save(FOLDER / "print.tif", compression="tiff_lzw")


if __name__ == "__main__":
    main()
