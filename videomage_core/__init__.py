"""VideoMage's engine: multi-subject and motion customization of text-to-video models.  It needs no ComfyUI.

Public names are imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callbacks import Callbacks, Cancelled
    from .config import (
        EMOJI_SAMPLING,
        CollaborativeConfig,
        FusionConfig,
        MotionConfig,
        SamplingConfig,
        SegmentationConfig,
        SubjectConfig,
        TrainingConfig,
    )
    from .data.examples import CaptionedClip, MotionClip, SubjectImage
    from .data.grounded_sam2 import GroundedSam2
    from .data.into_diffusers import load_into_diffusers
    from .data.lora_file import LoraModel, load_lora, rename_token, save_lora
    from .data.media import load_clip, save_video
    from .data.wan_lora import WanLora, merge_wan_loras, read_wan_lora, save_wan_lora
    from .model.base_folder import EMOJI_BASE
    from .model.loading import load_base, load_unet3d
    from .model.memory import workloads_for
    from .model.text import SpecialToken
    from .model.unet3d import UNet3DBackbone
    from .model.wan import WanBackbone
    from .presets import EMOJI, EMOJI_WAN, PAPER, WAN, Preset
    from .sampling import generate_videos, invert, sample
    from .stages.baselines import sample_averaged, sample_base, sample_composed, sample_merged
    from .stages.collaborative_sampling import CollaborativeResult, sample_collaboratively
    from .stages.ddim_inversion import invert_clip
    from .stages.fusion import FusionResult, fuse_subjects
    from .stages.fusion_data import FusionPrompts
    from .stages.motion_lora import train_motion
    from .stages.subject_lora import train_subject
    from .stages.training_result import TrainingResult

__all__ = [
    "EMOJI",
    "EMOJI_BASE",
    "EMOJI_SAMPLING",
    "EMOJI_WAN",
    "PAPER",
    "WAN",
    "Callbacks",
    "Cancelled",
    "CaptionedClip",
    "CollaborativeConfig",
    "CollaborativeResult",
    "FusionConfig",
    "FusionPrompts",
    "FusionResult",
    "GroundedSam2",
    "LoraModel",
    "MotionClip",
    "MotionConfig",
    "Preset",
    "SamplingConfig",
    "SegmentationConfig",
    "SpecialToken",
    "SubjectConfig",
    "SubjectImage",
    "TrainingConfig",
    "TrainingResult",
    "UNet3DBackbone",
    "WanBackbone",
    "WanLora",
    "fuse_subjects",
    "generate_videos",
    "invert",
    "invert_clip",
    "load_base",
    "load_clip",
    "load_into_diffusers",
    "load_lora",
    "load_unet3d",
    "merge_wan_loras",
    "read_wan_lora",
    "rename_token",
    "sample",
    "sample_averaged",
    "sample_base",
    "sample_collaboratively",
    "sample_composed",
    "sample_merged",
    "save_lora",
    "save_video",
    "save_wan_lora",
    "train_motion",
    "train_subject",
    "workloads_for",
]

_MODULES = (
    ".config",
    ".callbacks",
    ".data.examples",
    ".data.grounded_sam2",
    ".data.into_diffusers",
    ".data.lora_file",
    ".data.media",
    ".data.wan_lora",
    ".model.base_folder",
    ".model.loading",
    ".model.memory",
    ".model.text",
    ".model.unet3d",
    ".model.wan",
    ".presets",
    ".sampling",
    ".stages.collaborative_sampling",
    ".stages.baselines",
    ".stages.fusion",
    ".stages.motion_lora",
    ".stages.ddim_inversion",
    ".stages.subject_lora",
    ".stages.fusion_data",
    ".stages.training_result",
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        for path in _MODULES:
            module = importlib.import_module(path, __name__)
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
