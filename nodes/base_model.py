"""Load Video Base."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..videomage_core.model.memory import CHOICES
from . import comfy_host as host
from .comfy_memory import DTYPES, load_base
from .schema import Base, Node, accepted, schema


class LoadBase(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_LoadBase",
            display_name="Load Video Base",
            description="Loads the text-to-video base model that LoRAs are trained on and sampled with.",
            search_aliases=["zeroscope", "modelscope", "text to video"],
            inputs=[
                io.Combo.Input(
                    "base",
                    host.base_names(),
                    default=host.BUILT_IN,
                    tooltip="The tiny model that comes with this pack (8 frames of 48x48 pixels, to try everything in "
                    "minutes), or a folder of models/diffusers: a UNet3DConditionModel such as ZeroScope v2 "
                    "(cerspense/zeroscope_v2_576w on Hugging Face; its licence, CC-BY-NC-4.0, forbids commercial use), "
                    "or a WanPipeline such as Wan 2.1 T2V.",
                ),
                io.Combo.Input(
                    "dtype",
                    list(DTYPES),
                    default="auto",
                    tooltip="Precision of the base. auto: on a GPU fp16, or bf16 for Wan and for a base stored in "
                    "bf16; on a CPU fp32. LoRAs are always trained in fp32.",
                ),
                io.Combo.Input(
                    "memory",
                    list(CHOICES),
                    default="auto",
                    tooltip=(
                        "How much VRAM to use; the results are nearly the same. high: everything stays in VRAM; "
                        "fastest. medium: gradient checkpointing, about a third slower, and models that are not in "
                        "use are offloaded. low: weights are offloaded too, layer by layer, for the smallest cards. "
                        "auto: the fastest mode that fits."
                    ),
                ),
            ],
            outputs=[Base.Output("base_model", display_name="base", tooltip="The loaded base model.")],
        )

    @classmethod
    def validate_inputs(cls, base: str | None = None) -> bool | str:
        return accepted(lambda: base is None or host.base_folder(base))

    @classmethod
    def execute(cls, base: str, dtype: str, memory: str) -> Any:
        return io.NodeOutput(load_base(base, dtype, memory))
