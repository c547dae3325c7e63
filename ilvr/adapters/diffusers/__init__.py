"""ILVR in pipelines of diffusers: `pipe(prompt, callback_on_step_end=guide(pipe, image, phi))`."""

from .guide import Guide, guide
from .loop import sample
from .start import from_reference

__all__ = ["Guide", "from_reference", "guide", "sample"]
