"""Settings that belong together: the paper's for ZeroScope, and those of the embedded base.

The embedded base's learning rates, steps and batch sizes were chosen on the development half of
the emoji world alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from .config import EMOJI_SAMPLING, MotionConfig, SamplingConfig, SubjectConfig
from .stages.subject_lora import GENERAL_CAPTIONS


@dataclass(frozen=True)
class Preset:
    """All settings for one kind of base.

    Attributes:
        sampling: of videos and samples.
        subject: of subject LoRAs.
        motion: of motion LoRAs.
        captions: what the base's own auxiliary clips show.
    """

    sampling: SamplingConfig
    subject: SubjectConfig
    motion: MotionConfig
    captions: tuple[str, ...]


PAPER = Preset(SamplingConfig(), SubjectConfig(), MotionConfig(), GENERAL_CAPTIONS)

EMOJI = Preset(
    EMOJI_SAMPLING,
    SubjectConfig(
        height=48,
        width=48,
        batch_size=4,
        learning_rate=1e-3,
        token_learning_rate=1e-2,
        gradient_checkpointing=False,
    ),
    MotionConfig(
        frames=8,
        height=48,
        width=48,
        batch_size=4,
        learning_rate=1e-3,
        inversion_learning_rate=1e-2,
        gradient_checkpointing=False,
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
)
PRESETS = {"paper": PAPER, "emoji": EMOJI}
