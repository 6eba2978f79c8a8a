"""Settings that belong together: the paper's for ZeroScope, those of the built-in base, and Wan's.

The built-in base's were chosen on the development half of the emoji world alone: ``docs/tuning.md`` has the figures.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import (
    EMOJI_SAMPLING,
    CollaborativeConfig,
    FusionConfig,
    MotionConfig,
    SamplingConfig,
    SubjectConfig,
)
from .model.base_folder import EMOJI_BASE
from .model.base_names import is_wan_folder
from .model.wan_folder import check_wan_folder, wan_geometry
from .stages.auxiliary_clips import GENERAL_CAPTIONS
from .stages.fusion_data import FusionPrompts


@dataclass(frozen=True)
class Preset:
    """All settings for one kind of base.

    Attributes:
        sampling: of videos and samples.
        subject: of subject LoRAs.
        motion: of motion LoRAs.
        fusion: of fused LoRAs.
        collaborative: of SCS.
        captions: prompts of the auxiliary clips that the base generates.
        prompts: of the videos generated for fusion.
    """

    sampling: SamplingConfig
    subject: SubjectConfig
    motion: MotionConfig
    fusion: FusionConfig
    collaborative: CollaborativeConfig
    captions: tuple[str, ...]
    prompts: FusionPrompts


PAPER = Preset(
    SamplingConfig(),
    SubjectConfig(),
    MotionConfig(),
    FusionConfig(),
    CollaborativeConfig(),
    GENERAL_CAPTIONS,
    FusionPrompts(),
)

# The layers whose maps find the subject, and follow the motion: measured, see docs/layers.md.
EMOJI_CROSS_LAYERS = "down_blocks, mid_block, up_blocks.1.attentions.0"
EMOJI_TEMPORAL_LAYERS = "transformer_in, down_blocks, mid_block, up_blocks.1.temp_attentions.0"

EMOJI = Preset(
    EMOJI_SAMPLING,
    SubjectConfig(
        height=48,
        width=48,
        batch_size=8,
        rank=16,
        learning_rate=1e-3,
        token_learning_rate=1e-2,
        lr_scheduler="cosine",
    ),
    MotionConfig(
        frames=8,
        height=48,
        width=48,
        steps=200,
        batch_size=4,
        rank=16,
        learning_rate=4e-3,
        lr_scheduler="cosine",
        textual_inversion_steps=150,
        textual_inversion_learning_rate=1e-2,
    ),
    FusionConfig(
        steps=150,
        height=48,
        width=48,
        learning_rate=3e-4,
        teacher_guidance_scale=5.0,
        cross_attention_layers=EMOJI_CROSS_LAYERS,
    ),
    CollaborativeConfig(
        **dataclasses.asdict(EMOJI_SAMPLING),
        tau=8,
        cross_attention_layers=EMOJI_CROSS_LAYERS,
        temporal_attention_layers=EMOJI_TEMPORAL_LAYERS,
    ),
    (
        "a cat is jumping on grass",
        "a penguin is walking to the left in the snow",
        "a frog is rising under water",
        "a chick is growing on a beach",
        "a panda is falling at night",
        "a fox is walking to the right on a plain background",
        "a pig is chasing a rabbit on grass",
        "a monkey is next to a dog on a beach",
        "a robot is on top of a frog in the snow",
        "a cat is walking towards a penguin at night",
        "a rabbit is walking away from a fox on a plain background",
        "an octopus is shrinking under water",
        "a dog is standing still on grass",
        "a panda is chasing a pig on a beach",
        "a robot is jumping at night",
        "a chick is next to an octopus under water",
    ),
    FusionPrompts(
        teacher=(
            "a {subject} is walking to the right on grass",
            "a {subject} is jumping on a beach",
            "a {subject} is standing still in the snow",
            "a {subject} is walking to the left at night",
        ),
        cutmix="a {subject} is standing still on a plain background",
        clean="an empty scene on a plain background",
    ),
)
# Wan's own sampling, as WanPipeline's defaults and its authors' example; trainings on fewer frames, to fit in memory.
# Nothing here was tuned (ours, beside the paper's): rank and rates are the paper's.
_WAN_SIZE: dict[str, Any] = {"height": 480, "width": 832}
_WAN_SAMPLING = SamplingConfig(frames=33, fps=16.0, guidance_scale=5.0, **_WAN_SIZE)
WAN = Preset(
    _WAN_SAMPLING,
    SubjectConfig(auxiliary_frames=17, **_WAN_SIZE),
    MotionConfig(frames=33, **_WAN_SIZE),
    FusionConfig(frames=17, teacher_guidance_scale=5.0, **_WAN_SIZE),
    CollaborativeConfig(**{**dataclasses.asdict(_WAN_SAMPLING), "frames": 81}),
    GENERAL_CAPTIONS,
    FusionPrompts(),
)

# A base of emoji_wan's recipe: trained on 9 frames of 48x48 pixels; all else is emoji_base's, and not tuned for it.
EMOJI_WAN_SAMPLING = SamplingConfig(frames=9, height=48, width=48, steps=25, guidance_scale=4.0)
EMOJI_WAN = Preset(
    EMOJI_WAN_SAMPLING,
    dataclasses.replace(EMOJI.subject, auxiliary_frames=9, auxiliary_guidance_scale=4.0),
    dataclasses.replace(EMOJI.motion, frames=9),
    dataclasses.replace(EMOJI.fusion, frames=9, teacher_guidance_scale=4.0, cross_attention_layers="all"),
    CollaborativeConfig(**dataclasses.asdict(EMOJI_WAN_SAMPLING), tau=8),
    EMOJI.captions,
    EMOJI.prompts,
)
PRESETS = {"paper": PAPER, "emoji": EMOJI, "wan": WAN, "emoji_wan": EMOJI_WAN}


def preset_for(folder: Path) -> Preset:
    """The settings that suit a base: the built-in one's own, those of its kind of Wan, for all others the paper's."""
    return PRESETS[preset_name(folder)]


def preset_name(folder: Path) -> str:
    """The name of the preset that suits a base.

    Raises:
        FileNotFoundError: it is a Wan base with parts missing.
        ValueError: it is a Wan base of a kind that is not carried.
    """
    if is_wan_folder(folder):
        check_wan_folder(folder)
        return "emoji_wan" if wan_geometry(folder).as_emoji_wan else "wan"
    return "emoji" if folder.resolve() == EMOJI_BASE else "paper"
