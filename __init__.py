"""ILVR for ComfyUI: the node pack's entry point; the method itself is in `ilvr/`."""

NODE_CLASS_MAPPINGS: dict = {}
