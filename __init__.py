"""ILVR for ComfyUI: the node pack's entry point; the method itself is in `ilvr/`."""

import PIL

try:
    from comfyui_version import __version__ as HOST
except ImportError:  # no host at all
    HOST = None

WEB_DIRECTORY = "./web"
OLDEST_HOST, OLDEST_PILLOW = (0, 3, 64), (10, 1)


async def comfy_entrypoint():
    if reason := why_not(HOST, PIL.__version__):
        raise ImportError(reason)  # of which the host prints this line alone
    from .nodes import Extension

    return Extension()


def why_not(host: str, pillow: str) -> str | None:
    """Why the nodes can't be loaded with these versions, and what to do."""
    if _numbers(host) < OLDEST_HOST:
        return f"ILVR needs ComfyUI 0.3.64 or newer and this is {host}: update ComfyUI."
    if _numbers(pillow) < OLDEST_PILLOW:
        return f"ILVR needs Pillow 10.1 or newer and {pillow} is installed: pip install -U pillow."
    return None


def _numbers(version):
    parts = version.split("+")[0].split(".")
    return tuple(int(part) if part.isdigit() else 0 for part in parts)


if HOST:
    try:
        import comfy_api  # noqa: F401
    except ImportError:  # a host that asks for no entry point
        import logging

        logging.error(why_not(HOST, PIL.__version__))
        NODE_CLASS_MAPPINGS: dict = {}
