"""Masks from words: Load Segmenter and Segment by Words."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..videomage_core.config import SegmentationConfig
from ..videomage_core.data.grounded_sam2 import GroundedSam2
from ..videomage_core.data.overlay import tinted
from ..videomage_core.segmentation.words import split_words
from . import comfy_host as host
from .comfy_memory import SEGMENTER_NEEDS, reserve_memory
from .conversions import CLIP_TYPES, clip_pixels, image
from .progress import callbacks_for
from .schema import Node, Segmenter, read_settings, schema, settings_inputs

MOST = 4  # as many as Train Motion LoRA takes
ADVICE = "Lower detector_image_size, or the size of the clip, or take a smaller SAM 2"


def segmenter_input(tooltip: str) -> io.Input:
    return Segmenter.Input("segmenter", optional=True, tooltip=tooltip)


def words_in(text: str) -> list[str]:
    """The words of a text; ValueError if there are none or too many."""
    words = split_words(text)
    if not 1 <= len(words) <= MOST:
        raise ValueError(f"words: got {len(words)}, give 1 to {MOST}, with commas or a line each")
    return words


class LoadSegmenter(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_LoadSegmenter",
            display_name="Load Segmenter",
            description=(
                "Chooses GroundingDINO and SAM 2, which segment what you name in words. They are loaded one "
                "at a time when used and freed afterwards. Nothing is downloaded."
            ),
            search_aliases=["grounding dino", "sam2", "segment anything", "grounded sam"],
            inputs=[
                io.Combo.Input(
                    "detector",
                    host.detector_names(),
                    tooltip=(
                        "GroundingDINO, which detects boxes from words: a file (groundingdino_swint_ogc.pth, "
                        "groundingdino_swinb_cogcoor.pth) or a Hugging Face folder (grounding-dino-tiny, -base) in "
                        "models/grounding-dino."
                    ),
                ),
                io.Combo.Input(
                    "sam2",
                    host.sam2_names(),
                    tooltip=(
                        "SAM 2, which segments and tracks the detected boxes: a file (sam2.1_hiera_tiny, _small, "
                        "_base_plus, _large; .pt or .safetensors) or a Hugging Face folder in models/sam2."
                    ),
                ),
                io.Combo.Input(
                    "bert",
                    host.bert_names(),
                    tooltip=(
                        "The folder models/bert-base-uncased, for a detector that is a file. A Hugging Face folder "
                        "has its own tokenizer."
                    ),
                ),
            ],
            outputs=[
                Segmenter.Output(
                    "segmenter", display_name="segmenter", tooltip="For Segment by Words, or for the training nodes."
                )
            ],
        )

    @classmethod
    def validate_inputs(
        cls, detector: str | None = None, sam2: str | None = None, bert: str | None = None
    ) -> bool | str:
        try:
            if detector is not None and sam2 is not None and bert is not None:
                host.load_segmenter(detector, sam2, bert)
        except (OSError, ValueError, ImportError) as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, detector: str, sam2: str, bert: str) -> Any:
        return io.NodeOutput(host.load_segmenter(detector, sam2, bert))


class SegmentByWords(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_SegmentByWords",
            display_name="Segment by Words",
            description="Segments what you name in an image or a clip and tracks each subject through the clip.",
            search_aliases=["grounding dino", "sam2", "mask from text", "segment anything", "grounded sam"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                Segmenter.Input("segmenter", tooltip="From Load Segmenter."),
                io.MultiType.Input("clip", types=CLIP_TYPES, tooltip="An image, the frames of a clip, or a VIDEO."),
                io.String.Input(
                    "words",
                    default="person, horse",
                    multiline=True,
                    tooltip=f"Up to {MOST} names of what to segment, separated by commas or line breaks; repeat a "
                    "name for two subjects of a kind. The masks are in this order.",
                ),
                *settings_inputs(SegmentationConfig()),
            ],
            outputs=[
                *(
                    io.Mask.Output(
                        f"mask_{i}",
                        display_name=f"mask {i}",
                        tooltip=f"Mask of name {i} in words, one per frame; empty if there are fewer names.",
                    )
                    for i in range(1, MOST + 1)
                ),
                io.Image.Output(
                    "overlay", display_name="overlay", tooltip="The clip with each mask tinted in its own colour."
                ),
                io.String.Output(
                    "subjects", display_name="subjects", tooltip="The names separated by commas, for Train Motion LoRA."
                ),
                Segmenter.Output(
                    "tuned",
                    display_name="segmenter",
                    tooltip="The segmenter with these settings, for the training nodes.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, words: str | None = None) -> bool | str:
        try:
            return words is None or bool(words_in(words))  # None: wired, not known yet
        except ValueError as error:
            return str(error)

    @classmethod
    def execute(cls, segmenter: GroundedSam2, clip: Any, words: str, **widgets: Any) -> Any:
        named = words_in(words)
        tuned = segmenter.with_settings(read_settings(SegmentationConfig(), widgets))
        pixels = clip_pixels(clip)
        with reserve_memory(SEGMENTER_NEEDS, ADVICE):
            masks = tuned.with_callbacks(callbacks_for(cls.hidden.unique_id)).segment(pixels, named)
        spread = [*masks, *([None] * (MOST - len(named)))]
        return io.NodeOutput(*spread, image(tinted(pixels, masks)), ", ".join(named), tuned)
