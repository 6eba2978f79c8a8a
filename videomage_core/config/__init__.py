"""Every setting of the engine: frozen dataclasses with the paper's defaults.

A setting is declared once, with its default, its help and its range; the command line's flags
and a node's widgets are read from here.  A config refuses values out of range and
contradictions when it is built, all of them in one message, long before a model is loaded.
"""

from .guider import GuiderConfig
from .sampling import EMOJI_SAMPLING, CollaborativeConfig, SamplingConfig
from .segmentation import SegmentationConfig
from .settings import Settings, out_of_range, setting
from .training import FusionConfig, LoraTrainingConfig, MotionConfig, NewLoraConfig, SubjectConfig, TrainingConfig

__all__ = [
    "EMOJI_SAMPLING",
    "CollaborativeConfig",
    "FusionConfig",
    "GuiderConfig",
    "LoraTrainingConfig",
    "MotionConfig",
    "NewLoraConfig",
    "SamplingConfig",
    "SegmentationConfig",
    "Settings",
    "SubjectConfig",
    "TrainingConfig",
    "out_of_range",
    "setting",
]
