"""Four scenes through UltimateSDUpscale in tiles of 64: how far each tile follows its own part.

python -m benchmarks.packs [--picture docs/packs.png]

dB: each tile of the result and of the input, both made smaller by N = 8 and in 8 bits; the worst
of four. Alike: the two tiles that are most alike, pixel by pixel. In the newest ComfyUI found,
with the pack from ~/comfy-packs or $COMFYUI_PACKS.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from PIL import Image

from ilvr import contact_sheet
from tooling import tiles
from tooling.hosts import hosts, pack, why_no_pack, why_not
from tooling.server import serving


def image(x):
    return Image.fromarray(x[0].permute(1, 2, 0).byte().numpy())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, help="where to draw the three of denoise 0.6")
    path = parser.parse_args().picture
    host = hosts()[-1] if hosts() else None
    if reason := why_not(host) or why_no_pack(tiles.UPSCALER):
        sys.exit(f"Not measured: {reason}")
    with (
        tempfile.TemporaryDirectory() as files,
        serving(host, Path(files), others=[pack(tiles.UPSCALER)]) as server,
    ):
        given = tiles.four_scenes(server)
        shown = {"given": image(given)}
        print(f"{'':<16} padding denoise  worst tile  alike   (given: alike", end=" ")
        print(f"{tiles.nearest_pair(given):.1f} dB)")
        for guide in tiles.GUIDES:
            for padding in (0, 16):
                for denoise in (0.6, 1.0):
                    made = server.pixels(tiles.upscaled(guide, padding, denoise))
                    worst, alike = min(tiles.agreement(made, given)), tiles.nearest_pair(made)
                    print(
                        f"{guide:<16} {padding:>7} {denoise:>7}  {worst:>7.1f} dB  {alike:.1f} dB"
                    )
                    shown.setdefault(guide, image(made))
    if path:
        contact_sheet([list(shown.values())], list(shown), cell=256).save(path)


if __name__ == "__main__":
    main()
