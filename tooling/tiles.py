"""A picture of four scenes, sampled in tiles by a server that has UltimateSDUpscale."""

import io
import math

import torch
from PIL import Image
from torch import Tensor

from ilvr import LowPassFilter
from ilvr.image import fit, open_image
from tooling.hosts import ROOT
from tooling.server import Server, picture

UPSCALER = "ComfyUI_UltimateSDUpscale"
SCENES = "render-lake", "clip-art-sunset", "render-sunset", "render-meadow"
FILE, TILE, FACTOR = "four-scenes.png", 64, 8
GUIDES = "bare", "whole reference", "what is sampled"


def node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def four_scenes(server: Server) -> Tensor:
    """Put among the server's inputs: (1, 3, 128, 128) of 0..255."""
    sheet = Image.new("RGB", (2 * TILE, 2 * TILE))
    for i, name in enumerate(SCENES):
        scene = fit(open_image(ROOT / f"ilvr/assets/references/{name}.png"), TILE)
        sheet.paste(scene, (i % 2 * TILE, i // 2 * TILE))
    file = io.BytesIO()
    sheet.save(file, "png")
    (server.files / "input" / FILE).write_bytes(file.getvalue())
    return picture(file.getvalue())


def guided(guide: str) -> dict:
    """A model (8, 0), its conditioning (1, 1) and VAE (1, 2), and the picture (2, 0)."""
    graph = {
        "1": node("LoadUnconditionalModel", checkpoint="landscapes-64.safetensors"),
        "2": node("LoadImage", image=FILE),
        "4": node("NoisedReference", image=["2", 0], vae=["1", 2], noise="fresh", batch_size=1),
        "5": node("LowPassFilter", factor=FACTOR, kernel="cubic", exact=True),
        "8": node("ApplyILVR", model=["1", 0], low_pass=["5", 0]),
    }
    if guide == "whole reference":
        graph["8"]["inputs"]["reference"] = ["4", 0]
    if guide == "bare":
        graph["8"] = node("ModelSamplingDiscrete", model=["1", 0], sampling="eps", zsnr=False)
    return graph


def upscaled(guide: str, padding: int = 0, denoise: float = 0.6, steps: int = 8) -> dict:
    """The graph that samples the picture in four tiles and saves it in node 11."""
    return guided(guide) | {
        "10": node(
            "UltimateSDUpscaleNoUpscale", upscaled_image=["2", 0], model=["8", 0],
            positive=["1", 1], negative=["1", 1], vae=["1", 2], seed=3, steps=steps, cfg=1.0,
            sampler_name="euler", scheduler="karras", denoise=denoise, mode_type="Linear",
            tile_width=TILE, tile_height=TILE, mask_blur=0, tile_padding=padding,
            seam_fix_mode="None", seam_fix_denoise=1.0, seam_fix_width=64, seam_fix_mask_blur=8,
            seam_fix_padding=16, force_uniform_tiles=True, tiled_decode=False, batch_size=1,
        ),
        "11": node("SaveImage", images=["10", 0], filename_prefix="tiles"),
    }  # fmt: skip


def tiles(x: Tensor) -> Tensor:
    """(1, 3, H, W) -> its tiles (count, 3, 64, 64), row by row."""
    return torch.cat([tile for row in x.split(TILE, 2) for tile in row.split(TILE, 3)])


def agreement(x: Tensor, y: Tensor, factor: float = FACTOR) -> list[float]:
    """PSNR in dB of each tile of 0..255, both made smaller by the factor."""
    down = LowPassFilter(factor).down
    errors = (down(tiles(x)) - down(tiles(y))).square().mean((1, 2, 3))
    return [10 * math.log10(255**2 / max(error.item(), 1e-9)) for error in errors]


def nearest_pair(x: Tensor) -> float:
    """PSNR in dB of the two tiles that are most alike."""
    errors = [(a - b).square().mean() for i, a in enumerate(tiles(x)) for b in tiles(x)[:i]]
    return 10 * math.log10(255**2 / max(min(errors).item(), 1e-9))
