"""ILVR for ComfyUI: the node pack's entry point; the method itself is in `ilvr/`."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    from .nodes import Extension

    return Extension()
