"""The commands and options of `python -m ilvr`."""

import argparse
import math

from . import samplers
from .checkpoint import BUNDLED, DEFAULT
from .guidance import GUIDES
from .low_pass import CHANNELS, KERNELS
from .model import kinds
from .reference import NOISES
from .settings import DTYPES
from .values import path_of, printable

MOST, LAST_SEED = 10_000, 2**63 - 1


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"ilvr: {printable(message)}; see --help.\n")


def parser(**run) -> argparse.ArgumentParser:
    """The parser of all commands; `run` are the functions that run them, by their names."""
    parser = _Parser(
        "python -m ilvr", description="`python -m ilvr`: sample, sweep, evaluate, inspect, convert."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sample = commands.add_parser("sample", help="pictures that follow references")
    sample.add_argument("references", nargs="+", type=_path, metavar="REFERENCE")
    sample.add_argument(
        "--factor", type=_number, help="downsampling factor N, in pixels [8, of latent models 32]"
    )
    sample.add_argument(
        "--keep", default="low", metavar="low|high|A-B",
        help="low: all detail from the factor on; high: all up to it; 4-32: that between two [low]",
    )  # fmt: skip
    sample.add_argument(
        "--range", nargs=2, type=_number, default=(1000, 0), metavar=("START", "END"),
        help="timesteps that follow the reference: 1000 = pure noise, 0 = finished [1000 0]",
    )  # fmt: skip
    sample.set_defaults(run=run["sample"])

    sweep = commands.add_parser("sweep", help="one sheet of factors and ranges")
    sweep.add_argument("reference", type=_path, metavar="REFERENCE")
    sweep.add_argument(
        "--factors", nargs="+", type=_number, help="[2 4 8 16 32, of latent models 16 32 64 128]"
    )
    sweep.add_argument(
        "--keep", nargs="+", default=["low"], metavar="low|high|A-B",
        help="low and high: with every factor; bands, such as 4-32, once [low]",
    )  # fmt: skip
    sweep.add_argument(
        "--ranges", nargs="+", default=["0"], help="ends, or START-END, of the range [0]"
    )
    sweep.set_defaults(run=run["sweep"])
    for command in (sample, sweep):
        _add_sampling(command)
        command.add_argument("--count", type=_positive, default=4, help="images a reference [4]")
        command.add_argument(
            "--channels", choices=CHANNELS, default="all",
            help="of RGB pictures: all, their luminance or their colour [all]",
        )  # fmt: skip
    evaluate = _add_evaluate(commands)
    evaluate.set_defaults(run=run["evaluate"])

    values = "\n".join(f"  {name}: {kind.words.rstrip(',')}" for name, kind in kinds().items())
    inspect = commands.add_parser(
        "inspect", help="what is recognised in a checkpoint", epilog=f"values of --set:\n{values}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    convert = commands.add_parser("convert", help="a checkpoint as one .safetensors")
    for command, name in ((inspect, "inspect"), (convert, "convert")):
        command.add_argument("file", type=_path, metavar="FILE", help="or a folder of diffusers")
        command.set_defaults(run=run[name])
    convert.add_argument("target", type=_path, metavar="FILE.safetensors")
    for command in (sample, sweep, evaluate, inspect, convert):
        command.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE",
            help="override a recognised value; inspect --help names them",
        )  # fmt: skip
    return parser


def _add_evaluate(commands):
    evaluate = commands.add_parser("evaluate", help="the paper's tables, on pictures of your own")
    add = evaluate.add_argument
    add("references", nargs="+", type=_path, metavar="REFERENCES", help="folders or pictures")
    add("--factors", nargs="+", type=_number, help="[4 8 16 32, of latent models 16 32 64 128]")
    add("--ranges", nargs="+", default=["0"], help="ends, or START-END, of the range [0]")
    add("--samples-per-reference", type=_positive, default=10, metavar="COUNT", help="[10]")
    add(
        "--metrics", nargs="+", choices=["fid", "lpips", "niqe", "agreement"],
        help="[all; niqe with features inception]",
    )  # fmt: skip
    add(
        "--features", choices=["inception", "model"], default="inception",
        help="of fid and lpips: published networks, or the model's own encoder, with no download",
    )  # fmt: skip
    add("--real", type=_path, metavar="DIR", help="pictures to compare with [the references]")
    add("--limit", type=_whole(1, LAST_SEED), help="take the first so many references")
    add("--keep", choices=["none", "sheet", "all"], default="sheet", help="pictures [sheet]")
    add(
        "--ray", nargs="?", const="auto", metavar="ADDRESS",
        help="run on a Ray cluster: auto, or its address",
    )  # fmt: skip
    _add_sampling(evaluate)
    return evaluate


def _add_sampling(command):
    add = command.add_argument
    boolean = argparse.BooleanOptionalAction
    add("--out", type=_path, required=True, metavar="DIR", help="folder of the results")
    add(
        "--model", type=_path,
        help=f"{' or '.join(BUNDLED)}, a checkpoint, or a folder of diffusers [{DEFAULT}]",
    )  # fmt: skip
    add("--kernel", choices=list(KERNELS), default="cubic")
    add("--exact", action=boolean, default=True, help="low frequencies exactly [yes]")
    add("--guide", choices=GUIDES, default="state")
    add("--strength", type=_number, default=1.0, help="0 to 1, below 1 with guide prediction [1]")
    add("--noise", choices=NOISES, default="fresh", help="of the reference [fresh]")
    add("--mask", type=_path, help="picture of the reference's size: white follows, black is free")
    add("--released", action="store_true", help="noise and range as in the authors' code")
    add(
        "--start", type=_start, metavar="noise|reference|T",
        help="from pure noise as in the paper; from where the reference has decided all that it "
        "will, in fewer steps; or from a timestep [reference for dpmpp_2m, else noise]",
    )  # fmt: skip
    add("--sampler", choices=list(samplers.DEFAULT_STEPS), default="dpmpp_2m")
    add(
        "--steps",
        type=int,
        help=f"from noise {samplers.DEFAULT_STEPS}, from a lower start {samplers.STEPS_BELOW}",
    )
    add("--respacing", help="instead of steps: a count, ddimN, or counts of sections a,b,c")
    add("--spacing", choices=samplers.SPACINGS, default="karras", help="of dpmpp_2m [karras]")
    add("--variance", choices=samplers.VARIANCES, help="of ddpm [learned if it is]")
    add("--eta", type=_number, default=0.0, help="of ddim, 0 to 1 [0]")
    add("--clip", action=boolean, default=True, help="clamp predicted images [yes]")
    add("--class-label", type=int, help="of a class-conditional model")
    add("--batch-size", type=_positive, default=8)
    add("--seed", type=_natural, default=0, help="of the first image; the next take the next ones")
    add("--device", help="cpu, cuda, ... [cuda if there]")
    add(
        "--dtype", choices=["auto", *DTYPES], default="auto",
        help="of the network; auto: bfloat16 where the machine computes in it, else float32 [auto]",
    )  # fmt: skip


def _path(text):
    try:
        return path_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


def _number(text):
    try:
        if math.isfinite(number := float(text)):
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number")


def _start(text):
    return text if text in samplers.STARTS else _number(text)


def _whole(least, most):
    def parse(text):
        if not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return parse


_positive, _natural = _whole(1, MOST), _whole(0, LAST_SEED)
