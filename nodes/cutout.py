"""Cut Out for Fusion: a subject cut out by the user's own masks, for L_attn (Eq. 7)."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..videomage_core.config import FusionConfig
from ..videomage_core.data.augmentation import needed_size
from ..videomage_core.data.frames import shrunk_pixels
from ..videomage_core.data.lora_file import LoraModel
from ..videomage_core.stages.fusion_data import add_cutout
from .conversions import CLIP_TYPES, clip_pixels, masks
from .schema import Lora, Node, schema


class SubjectClip(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_SubjectClip",
            display_name="Cut Out for Fusion",
            description=(
                "Adds your own masked clip or photo of a subject to its LoRA, between the loader and Fuse "
                "Subject LoRAs: fusion then uses this cut-out for its CutMix pairs instead of videos that the "
                "LoRA generates."
            ),
            search_aliases=["mask", "cutmix", "fuse"],
            inputs=[
                Lora.Input("lora", tooltip="The LoRA of one subject."),
                io.MultiType.Input(
                    "clip",
                    types=CLIP_TYPES,
                    tooltip="The subject, alone or among others: frames, VIDEO, or a photo.",
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="The subject's mask, 1 on the subject: one per frame, or one for all frames, of any size.",
                ),
            ],
            outputs=[
                Lora.Output(
                    "lora_with_cutout",
                    display_name="LoRA",
                    tooltip=(
                        "The same LoRA with the cut-out, for Fuse Subject LoRAs. Chain this node to add another. "
                        "Saved files do not contain cut-outs."
                    ),
                )
            ],
        )

    @classmethod
    def execute(cls, lora: LoraModel, clip: Any, mask: torch.Tensor) -> Any:
        given = masks([mask])
        assert given is not None
        size = needed_size(FusionConfig())
        return io.NodeOutput(add_cutout(lora, clip_pixels(clip, size), shrunk_pixels(given, size)[0]))
