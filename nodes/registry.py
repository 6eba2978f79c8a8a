"""The one list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .base_model import LoadBase
from .collaborative_sampling import SCSSampler
from .contact_sheet import ContactSheet
from .cutout import SubjectClip
from .evaluation import Evaluate
from .examples import ExampleMotion, ExampleSubject
from .fusion import FuseSubjects
from .lora_files import LoadLora, LoraInfo, SaveLora
from .motion_lora import TrainMotion
from .native.base_from_model import BaseFromModel
from .native.guider import SCSGuider
from .native.merge_loras import MergeSubjectLoras
from .native.overlay import ShowAttention
from .native.prompts import EncodePromptSCS
from .sample_video import SampleVideo
from .segmentation import LoadSegmenter, SegmentByWords
from .subject_lora import TrainSubject

NODES: list[type[io.ComfyNode]] = [
    LoadBase,
    BaseFromModel,
    TrainSubject,
    TrainMotion,
    SubjectClip,
    FuseSubjects,
    SCSSampler,
    SCSGuider,
    SampleVideo,
    LoadLora,
    SaveLora,
    LoraInfo,
    MergeSubjectLoras,
    LoadSegmenter,
    SegmentByWords,
    Evaluate,
    ContactSheet,
    ExampleSubject,
    ExampleMotion,
    EncodePromptSCS,
    ShowAttention,
]


class VideoMageExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
