"""The tiny autoencoder of latent models, in the layout and under the names of TAESD (madebyollin).

Eightfold in each direction: a picture (B, 3, 8H, 8W) in [-1, 1], latents (B, C, H, W). Weights of
TAESD, TAESDXL and TAEF1 fit, with ComfyUI's prefixes or, encoder and decoder apart, with none.
"""

import torch
from torch import Tensor, nn

COMPRESSION = 8  # pixels to a latent cell, each way
ENCODER, DECODER = "taesd_encoder.", "taesd_decoder."
PREFIXES = (ENCODER, DECODER, "vae_scale", "vae_shift")  # of all its keys
WIDTH = 64


class Autoencoder(nn.Module):
    """Latents are `z / vae_scale + vae_shift`, z what the network inside gives, as in ComfyUI."""

    def __init__(self, channels: int = 4):
        super().__init__()
        self.channels = channels
        self.taesd_encoder = encoder(channels)
        self.taesd_decoder = decoder(channels)
        self.vae_scale = nn.Parameter(torch.tensor(1.0))
        self.vae_shift = nn.Parameter(torch.tensor(0.0))

    def encode(self, pictures: Tensor) -> Tensor:
        """(B, 3, 8H, 8W) in [-1, 1] -> (B, C, H, W)."""
        return self.taesd_encoder((pictures + 1) / 2) / self.vae_scale + self.vae_shift

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 3, 8H, 8W) in about [-1, 1]; not clamped."""
        return self.taesd_decoder((latents - self.vae_shift) * self.vae_scale) * 2 - 1

    def colours(self) -> tuple[Tensor, Tensor]:
        """(C, 3) and (3,): `z @ factors + bias` is about the colour of a cell z, in [-1, 1].

        For quick previews: least squares over what flat latents decode to.
        """
        draws = torch.Generator().manual_seed(0)
        z = torch.randn(16 * self.channels, self.channels, generator=draws).to(self.vae_scale)
        colours = self.decode(z[:, :, None, None].expand(-1, -1, 2, 2)).mean((2, 3))
        ones = torch.ones_like(z[:, :1])
        solution = torch.linalg.lstsq(torch.cat([z, ones], dim=1), colours).solution
        return solution[:-1], solution[-1]

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> "Autoencoder":
        """The autoencoder of a state dict, in its dtype; keys of other parts are left aside.

        Raises ValueError where the keys or shapes are not TAESD's.
        """
        own = {name: value for name, value in state.items() if name.startswith(PREFIXES)}
        last = own.get(f"{ENCODER}14.weight")
        if last is None:
            raise ValueError(
                f"The weights hold no {ENCODER}14.weight; an autoencoder of the TAESD layout is "
                f"needed, encoder and decoder, under ComfyUI's names."
            )
        with torch.device("meta"):  # no weights are drawn
            model = cls(len(last))
        plain = {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}
        copies = {name: value.clone() for name, value in (plain | own).items()}
        try:
            model.load_state_dict(copies, assign=True)
        except RuntimeError as error:
            problem = " ".join(str(error).split())
            raise ValueError(f"The autoencoder is not of the TAESD layout: {problem}.") from None
        return model


def encoder(channels: int) -> nn.Sequential:
    def halved():
        return [conv(stride=2, bias=False), Block(), Block(), Block()]

    return nn.Sequential(conv(3), Block(), *halved(), *halved(), *halved(), conv(WIDTH, channels))


def decoder(channels: int) -> nn.Sequential:
    def doubled():
        return [Block(), Block(), Block(), nn.Upsample(scale_factor=2), conv(bias=False)]

    first = [Clamp(), conv(channels), nn.ReLU()]
    return nn.Sequential(*first, *doubled(), *doubled(), *doubled(), Block(), conv(WIDTH, 3))


def conv(taken: int = WIDTH, given: int = WIDTH, **rest) -> nn.Conv2d:
    return nn.Conv2d(taken, given, 3, padding=1, **rest)


class Block(nn.Module):
    """Three convolutions beside the identity."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv())

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv(x) + x).relu()


class Clamp(nn.Module):
    """Latents softly kept within 3."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)
