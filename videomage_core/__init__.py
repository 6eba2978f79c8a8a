"""VideoMage's engine: customise a text-to-video base, and sample it.  It needs no ComfyUI.

What is public is loaded when it is first asked for, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import EMOJI_SAMPLING, SamplingConfig, TrainingConfig
    from .model.text import SpecialToken
    from .model.unet3d import EMOJI_BASE, UNet3DBackbone, load_unet3d
    from .run import Cancelled, Run
    from .sampling import generate_videos, invert, sample

__all__ = [
    "EMOJI_BASE",
    "EMOJI_SAMPLING",
    "Cancelled",
    "Run",
    "SamplingConfig",
    "SpecialToken",
    "TrainingConfig",
    "UNet3DBackbone",
    "generate_videos",
    "invert",
    "load_unet3d",
    "sample",
]

_MODULES = (".config", ".run", ".model.text", ".model.unet3d", ".sampling")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for path in _MODULES:
            module = importlib.import_module(path, __name__)
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
