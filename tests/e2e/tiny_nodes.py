"""A node pack for the tests' server: loaders of the models that people use, tiny, with random
weights, in place of the host's own. Their `family` is a name in tests/nodes/architectures.py."""

import importlib
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def architecture(family):
    """From tests/nodes, which looks for the pack under the name that it has there."""
    if "tiny_tests" not in sys.modules:
        (pack,) = (module for name, module in sys.modules.items() if name.endswith("nodes/ilvr"))
        sys.modules[str(ROOT).replace(".", "_x_")] = pack
        package = sys.modules["tiny_tests"] = types.ModuleType("tiny_tests")
        package.__path__ = [str(ROOT / "tests" / "nodes")]
    return importlib.import_module("tiny_tests.architectures").ARCHITECTURES[family]


class Tiny:
    CATEGORY, FUNCTION = "test", "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"family": ("STRING", {})}}


class TinyCheckpoint(Tiny):
    RETURN_TYPES = ("MODEL", "CLIP", "VAE")

    def load(self, family):
        return architecture(family).model(), family, architecture(family).vae()


class TinyModel(Tiny):
    RETURN_TYPES = ("MODEL",)

    def load(self, family):
        return (architecture(family).model(),)


class TinyClip(Tiny):
    """Its CLIP is no more than the family's name, for TinyPrompt."""

    RETURN_TYPES = ("CLIP",)

    def load(self, family):
        return (family,)


class TinyVAE(Tiny):
    RETURN_TYPES = ("VAE",)

    def load(self, family):
        return (architecture(family).vae(),)


class TinyPrompt:
    CATEGORY, FUNCTION, RETURN_TYPES = "test", "encode", ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING", {}), "clip": ("CLIP",)}}

    def encode(self, text, clip):
        return (architecture(clip).prompts()[0],)


NODE_CLASS_MAPPINGS = {
    kind.__name__: kind for kind in (TinyCheckpoint, TinyModel, TinyClip, TinyVAE, TinyPrompt)
}
