"""Show Attention (SCS): where SCS Guider's subject branch saw each subject, laid over the video."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...videomage_core.data.overlay import labelled_overlays
from ..conversions import clip_pixels, image
from ..schema import Node, schema


class ShowAttention(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_ShowAttention",
            display_name="Show Attention (SCS)",
            description=(
                "Shows each subject's cross-attention map in the guided steps of SCS Guider: the video "
                "once per subject, tinted and labelled, side by side."
            ),
            search_aliases=["videomage", "attention overlay"],
            inputs=[
                io.Image.Input("images", tooltip="All frames of the video that this guider sampled, from VAE Decode."),
                io.Guider.Input("guider", tooltip="The SCS Guider that is connected to SamplerCustomAdvanced."),
                io.Float.Input(
                    "strength",
                    default=0.75,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Opacity of the tint where attention is highest; 0 is off.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "overlays",
                    display_name="overlays",
                    tooltip="The tinted videos side by side, as frames; with tau 0, the plain video.",
                )
            ],
        )

    @classmethod
    def execute(cls, images: Any, guider: Any, strength: float) -> Any:
        maps = getattr(guider, "attention_maps", None)
        if maps is None:
            raise ValueError(
                f"guider: got {type(guider).__name__}, which records no maps; wire the SCS Guider that made the images"
            )
        return io.NodeOutput(image(labelled_overlays(clip_pixels(images), maps, strength)))
