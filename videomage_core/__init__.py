"""VideoMage's engine: customise a text-to-video base, and sample it.  It needs no ComfyUI."""

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
