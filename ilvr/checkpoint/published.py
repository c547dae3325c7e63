"""The table of published models, which tells what shapes cannot."""

from ..model import Configuration


def _adm(size, channels, mult, blocks, rates, *, classes=None, **rest) -> Configuration:
    return Configuration(
        channels, mult, blocks, rates, num_classes=classes, image_size=size, **rest
    )


# The READMEs of guided-diffusion, improved-diffusion, P2-weighting and ilvr_adm; the config.json
# files of google's models; the config folder of rosinality's project.
FOUR_HEADS = {"num_head_channels": None, "num_heads": 4}
_PLAIN = {"resblock_updown": False} | FOUR_HEADS
_HO = _PLAIN | {
    "num_heads": 1, "learn_sigma": False, "use_scale_shift_norm": False, "sigma_small": True,
}  # fmt: skip
_GOOGLE = _HO | {
    "use_new_attention_order": True, "norm_eps": 1e-6, "sine_first": True, "frequency_shift": 1,
    "asymmetric_downsample": True,
}  # fmt: skip
PUBLISHED = {
    "guided-diffusion ImageNet 64x64": _adm(
        64, 192, (1, 2, 3, 4), 3, (2, 4, 8), classes=1000,
        noise_schedule="cosine", use_new_attention_order=True,
    ),
    "guided-diffusion ImageNet 128x128": _adm(
        128, 256, (1, 1, 2, 3, 4), 2, (4, 8, 16), classes=1000,
        num_head_channels=None, num_heads=4,
    ),
    "guided-diffusion ImageNet 256x256": _adm(
        256, 256, (1, 1, 2, 2, 4, 4), 2, (8, 16, 32), classes=1000
    ),
    "guided-diffusion 256x256 unconditional, or LSUN bedroom, cat, horse": _adm(
        256, 256, (1, 1, 2, 2, 4, 4), 2, (8, 16, 32)
    ),
    "guided-diffusion ImageNet 512x512": _adm(
        512, 256, (0.5, 1, 1, 2, 2, 4, 4), 2, (16, 32, 64), classes=1000
    ),
    "ILVR and P2-weighting 256x256 (FFHQ, AFHQ-dog, MetFaces, CelebA-HQ, CUB, Flowers, ...)": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 1, (16,)
    ),
    "improved-diffusion CIFAR-10 32x32": _adm(
        32, 128, (1, 2, 2, 2), 3, (2, 4), **_PLAIN,
        noise_schedule="cosine", diffusion_steps=4000, rescale_timesteps=True,
    ),
    "improved-diffusion ImageNet 64x64": _adm(
        64, 128, (1, 2, 3, 4), 3, (4, 8), **_PLAIN,
        noise_schedule="cosine", diffusion_steps=4000, rescale_timesteps=True,
    ),
    "improved-diffusion ImageNet 64x64, class-conditional": _adm(
        64, 192, (1, 2, 3, 4), 3, (4, 8), classes=1000, **_PLAIN,
        noise_schedule="cosine", diffusion_steps=4000,
    ),
    "improved-diffusion LSUN bedroom 256x256": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 2, (16,), use_scale_shift_norm=False,
        resblock_updown=False, num_head_channels=None, num_heads=1,
    ),
    "google/ddpm- and ddpm-ema- celebahq-256, church-256, bedroom-256, cat-256": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 2, (16,), **_GOOGLE
    ),
    "google/ddpm-cifar10-32 and ddpm-ema-cifar10-32": _adm(
        32, 128, (1, 2, 2, 2), 2, (2,), **_GOOGLE
    ),
    "rosinality/denoising-diffusion-pytorch 256x256 (diffusion.conf: FFHQ)": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 2, (16,), **_HO, sine_first=True
    ),
    "rosinality/denoising-diffusion-pytorch 256x256 (improved.conf)": _adm(
        256, 128, (1, 1, 2, 2, 4, 4), 2, (8, 16), **_PLAIN, learn_sigma=False, sine_first=True,
        sigma_small=True,
        noise_schedule="cosine",
    ),
}  # fmt: skip
