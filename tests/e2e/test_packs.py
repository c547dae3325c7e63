"""ILVR in the graphs of other people's packs, all loaded in one server of the newest ComfyUI."""

import json

import pytest
import torch

from ilvr import LowPassFilter
from tooling import tiles
from tooling.hosts import ROOT, hosts, packs, why_no_pack, why_not
from tooling.server import serving
from tooling.tiles import TILE, agreement, node

CONDITIONS = {"positive": ["1", 1], "negative": ["1", 1], "cfg": 1.0}
STEPPING = {"seed": 3, "steps": 8, "sampler_name": "euler", "scheduler": "karras", "denoise": 0.6}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    host = hosts()[-1] if hosts() else None
    if reason := why_not(host):
        pytest.skip(f"other people's packs: {reason}")
    others = [*packs(), ROOT / "tests/e2e/tiny_nodes.py"]
    with serving(host, tmp_path_factory.mktemp("packs"), others=others) as server:
        yield server, tiles.four_scenes(server), json.loads(server.get("/object_info"))


@pytest.fixture
def meeting(running):
    """meet(pack, graph): the run of a graph of this pack, and the pixels that it was given."""
    server, given, offered = running

    def meet(name, graph):
        if reason := why_no_pack(name):
            pytest.skip(f"with other people's packs: {reason}")
        if missing := {n["class_type"] for n in graph.values()} - set(offered):
            pytest.skip(f"with other people's packs: {name} did not load {sorted(missing)}.")
        return server.run(graph), given

    return meet


def sampled(guide, **nodes):
    """Nodes that sample the picture's latent (3, 0) with the model, and save the latent (9, 0)."""
    graph, model = tiles.guided(guide)
    graph |= {
        "3": node("VAEEncode", pixels=["2", 0], vae=["1", 2]),
        "10": node("VAEDecode", samples=["9", 0], vae=["1", 2]),
        "11": node("SaveImage", images=["10", 0], filename_prefix="packs"),
    } | nodes
    for item in graph.values():
        item["inputs"] = {k: model if v == "MODEL" else v for k, v in item["inputs"].items()}
    return graph


def ksampler(guide, kind="KSampler", latent=("3", 0), model="MODEL", **more):
    steps = node(kind, model=model, **STEPPING, **CONDITIONS, latent_image=list(latent))
    steps["inputs"] |= more
    return sampled(guide, **{"9": steps})


def res4lyf_list(guide):
    return ksampler(guide, sampler_name="res_2m")


def clownshark(guide):
    return sampled(guide, **{"9": node(
        "ClownsharKSampler_Beta", model="MODEL", **CONDITIONS, latent_image=["3", 0], eta=0.0,
        sampler_name="multistep/res_2m", scheduler="karras", steps=8, steps_to_run=-1, denoise=0.6,
        seed=3, sampler_mode="standard", bongmath=False,
    )})  # fmt: skip


def tiled_ksampler(guide, strategy="simple"):
    size = {"tile_width": 8 * TILE, "tile_height": 8 * TILE}  # of latents with 8 pixels a cell
    return ksampler(guide, "BNK_TiledKSampler", **size, tiling_strategy=strategy)


def inspire(guide):
    return ksampler(
        guide, "KSampler //Inspire", noise_mode="CPU", batch_seed_mode="incremental",
        variation_seed=0, variation_strength=0.0,
    )  # fmt: skip


def tiled_diffusion(guide):
    graph = ksampler(guide, model=["20", 0])
    _, model = tiles.guided(guide)
    graph["20"] = node(
        "TiledDiffusion", model=model, method="MultiDiffusion", tile_width=8 * TILE,
        tile_height=8 * TILE, tile_overlap=128, tile_batch_size=2,
    )  # fmt: skip
    return graph


def custom(guide, **samplers):
    sampler = [max(samplers), 0] if guide == "bare" else ["8", 0]
    graph = sampled("bare", **samplers, **{
        "6": node("BasicScheduler", model=["1", 0], scheduler="karras", steps=8, denoise=0.6),
        "9": node(
            "SamplerCustom", model=["1", 0], add_noise=True, noise_seed=3, **CONDITIONS,
            sampler=sampler, sigmas=["6", 0], latent_image=["3", 0],
        ),
    })  # fmt: skip
    graph["8"] = node("ILVRSampler", sampler=[max(samplers), 0], low_pass=["5", 0])
    return graph


def detail_daemon(guide):
    return custom(guide, **{
        "20": node("KSamplerSelect", sampler_name="euler"),
        "21": node(
            "DetailDaemonSamplerNode", sampler=["20", 0], detail_amount=0.3, start=0.2, end=0.8,
            bias=0.5, exponent=1.0, start_offset=0.0, end_offset=0.0, fade=0.0, smooth=True,
            cfg_scale_override=0.0,
        ),
    })  # fmt: skip


def detail_daemon_outside(guide):
    graph = detail_daemon(guide)
    if guide != "bare":
        graph["8"]["inputs"]["sampler"] = ["20", 0]
        graph["21"]["inputs"]["sampler"] = ["8", 0]
        graph["9"]["inputs"]["sampler"] = ["21", 0]
    return graph


def clown_sampler(guide):
    return custom(guide, **{
        "20": node(
            "ClownSampler_Beta", eta=0.0, sampler_name="multistep/res_2m", seed=3, bongmath=False
        ),
    })  # fmt: skip


def masked():
    """A mask (32, 0) of the second scene."""
    return {
        "30": node("SolidMask", value=0.0, width=2 * TILE, height=2 * TILE),
        "31": node("SolidMask", value=1.0, width=TILE, height=TILE),
        "32": node(
            "MaskComposite", destination=["30", 0], source=["31", 0], x=TILE, y=0, operation="add"
        ),
    }


def lanpaint(guide):
    more = {
        "LanPaint_NumSteps": 2, "LanPaint_PromptMode": "Image First", "LanPaint_Info": "",
        "Inpainting_mode": "🖼️ Image Inpainting",
    }  # fmt: skip
    graph = ksampler(guide, "LanPaint_KSampler", latent=("33", 0), **more) | masked()
    graph["33"] = node("SetLatentNoiseMask", samples=["3", 0], mask=["32", 0])
    return graph


def detailer(guide):
    graph = sampled(guide) | masked()
    _, model = tiles.guided(guide)
    graph["33"] = node(
        "MaskToSEGS", mask=["32", 0], combined=False, crop_factor=1.0, bbox_fill=False,
        drop_size=10, contour_fill=False,
    )  # fmt: skip
    graph["34"] = node("TinyClip", family="SD1.5")
    graph["10"] = node(
        "DetailerForEach", image=["2", 0], segs=["33", 0], model=model, clip=["34", 0],
        vae=["1", 2], guide_size=TILE, guide_size_for=True, max_size=TILE, **STEPPING,
        **CONDITIONS, feather=0, noise_mask=False, force_inpaint=True, wildcard="", cycle=1,
    )  # fmt: skip
    return graph


def crop_and_stitch(guide):
    graph = ksampler(guide) | masked()
    graph["35"] = node(
        "InpaintCropImproved", image=["2", 0], mask=["32", 0], downscale_algorithm="bilinear",
        upscale_algorithm="bicubic", preresize=False,
        preresize_mode="ensure minimum resolution", preresize_min_width=64,
        preresize_min_height=64, preresize_max_width=16384, preresize_max_height=16384,
        mask_fill_holes=True, mask_expand_pixels=0, mask_invert=False, mask_blend_pixels=0,
        mask_hipass_filter=0.1, extend_for_outpainting=False, extend_up_factor=1.0,
        extend_down_factor=1.0, extend_left_factor=1.0, extend_right_factor=1.0,
        context_from_mask_extend_factor=1.0, output_resize_to_target_size=True,
        output_target_width=TILE, output_target_height=TILE, output_padding="0",
        device_mode="cpu (compatible)",
    )  # fmt: skip
    graph["3"]["inputs"]["pixels"] = ["35", 1]
    graph["36"] = node("InpaintStitchImproved", stitcher=["35", 0], inpainted_image=["10", 0])
    graph["11"]["inputs"]["images"] = ["36", 0]
    return graph


@pytest.mark.parametrize("padding, least", [(0, 50), (16, 37)])
@pytest.mark.parametrize("denoise", [0.6, 1.0])
def test_each_tile_of_an_upscaler_follows_its_own_part(meeting, padding, least, denoise):
    made = {}
    for guide in tiles.GUIDES:
        run, given = meeting(tiles.UPSCALER, tiles.upscaled(guide, padding, denoise))
        made[guide] = run.pixels()
    worst = {guide: min(agreement(x, given)) for guide, x in made.items()}
    assert worst["what is sampled"] > least > 25 > max(worst["bare"], worst["whole reference"])
    assert tiles.nearest_pair(made["what is sampled"]) < 20


WHOLE = {
    "KSampler with RES4LYF's res_2m": ("RES4LYF", res4lyf_list),
    "ClownsharKSampler": ("RES4LYF", clownshark),
    "ClownSampler in ILVRSampler": ("RES4LYF", clown_sampler),
    "Inspire's KSampler": ("ComfyUI-Inspire-Pack", inspire),
    "TiledDiffusion": ("ComfyUI-TiledDiffusion", tiled_diffusion),
    "Detail Daemon in ILVRSampler": ("ComfyUI-Detail-Daemon", detail_daemon),
}


@pytest.mark.parametrize("name, graph", WHOLE.values(), ids=WHOLE)
def test_a_picture_keeps_its_low_frequencies(meeting, name, graph):
    run, given = meeting(name, graph("what is sampled"))
    made, bare = run.pixels(), meeting(name, graph("bare"))[0].pixels()
    assert whole(made, given) > 50 > 25 > whole(bare, given)
    assert (made - given).abs().mean() > 5, "nothing was painted"


def whole(x, y):
    down = LowPassFilter(tiles.FACTOR).down
    return 10 * torch.log10(255**2 / (down(x) - down(y)).square().mean())


PART = {
    "Impact Pack's detailer": ("ComfyUI-Impact-Pack", detailer, 50),
    "Inpaint Crop and Stitch": ("ComfyUI-Inpaint-CropAndStitch", crop_and_stitch, 50),
    "LanPaint": ("LanPaint", lanpaint, 40),
}


@pytest.mark.parametrize("name, graph, least", PART.values(), ids=PART)
def test_a_part_that_is_painted_anew_keeps_its_own(meeting, name, graph, least):
    run, given = meeting(name, graph("what is sampled"))
    made, bare = run.pixels(), meeting(name, graph("bare"))[0].pixels()
    assert agreement(made, given)[1] > least > 25 > agreement(bare, given)[1]
    change = (tiles.tiles(made) - tiles.tiles(given)).abs().mean((1, 2, 3))
    assert change[1] > 5 > 0.5 > max(change[0], *change[2:])


SAYS = {
    "BNK_TiledKSampler": ("ComfyUI_TiledKSampler", tiled_ksampler, "add_noise is off"),
    "Detail Daemon around ILVRSampler": (
        "ComfyUI-Detail-Daemon", detail_daemon_outside, "use Apply ILVR on the model"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name, graph, sentence", SAYS.values(), ids=SAYS)
def test_what_cannot_be_followed_is_said(meeting, name, graph, sentence):
    assert meeting(name, graph("bare"))[0].error is None
    run, _ = meeting(name, graph("what is sampled"))
    assert sentence in run.error["exception_message"]
