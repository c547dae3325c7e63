"""ILVR in pipelines of diffusers: `pipe(prompt, callback_on_step_end=guide(pipe, image, phi))`."""

from .guide import Guide, guide
from .loop import sample

__all__ = ["Guide", "guide", "sample"]
