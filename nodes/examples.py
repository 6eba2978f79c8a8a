"""Example Subject and Example Motion: the images and the clip that come with the pack."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..videomage_core.data.examples import load_motion_clip, load_subject_images
from ..videomage_core.demo import CLIP_PROMPT, EXAMPLES, PERFORMERS, SUBJECTS
from .conversions import image
from .schema import Node, schema

CLIP_FRAMES = 8


class ExampleSubject(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_ExampleSubject",
            display_name="Example Subject",
            search_aliases=["example images", "sample images"],
            description=(
                "Four images of a character that comes with the pack and that the built-in base was not "
                "trained on. For your own subject, connect Load Image instead."
            ),
            inputs=[io.Combo.Input("subject", list(SUBJECTS), default=SUBJECTS[0], tooltip="The character.")],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="Its four images."),
                io.String.Output(
                    "prompts",
                    display_name="prompts",
                    tooltip="One prompt per image, one per line, for Train Subject LoRA.",
                ),
            ],
        )

    @classmethod
    def execute(cls, subject: str) -> Any:
        examples = load_subject_images(EXAMPLES / subject)
        pixels = torch.stack([example.pixels for example in examples], dim=1)  # N x [3,H,W] -> [3,N,H,W]
        return io.NodeOutput(image(pixels), "\n".join(example.prompt or "" for example in examples))


class ExampleMotion(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_ExampleMotion",
            display_name="Example Motion",
            search_aliases=["example clip", "sample video"],
            description=(
                "A clip that comes with the pack: a pig is riding a cat. The built-in base was not "
                "trained on riding. For your own motion, connect Load Video instead."
            ),
            outputs=[
                io.Image.Output("frames", display_name="frames", tooltip="The clip's frames."),
                *(io.Mask.Output(f"mask_{who}", display_name=who, tooltip=f"Mask of the {who}.") for who in PERFORMERS),
                io.String.Output(
                    "prompt", display_name="prompt", tooltip="The prompt of the clip, for Train Motion LoRA."
                ),
                io.String.Output(
                    "subjects", display_name="subjects", tooltip="The subjects of the clip, in the order of the masks."
                ),
            ],
        )

    @classmethod
    def execute(cls) -> Any:
        folder = EXAMPLES / "riding"
        clip = load_motion_clip(folder / "clip", {name: folder / name for name in PERFORMERS}, CLIP_FRAMES)
        assert clip.masks is not None
        return io.NodeOutput(image(clip.pixels), *clip.masks, CLIP_PROMPT, ", ".join(PERFORMERS))
