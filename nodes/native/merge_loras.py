"""Merge Subject LoRAs: the exact average of LoRA files for Wan, on core's MODEL and as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io, ui

from ...videomage_core.data.wan_lora import WanLora, merge_wan_loras, publish_wan_lora, read_wan_lora
from ...videomage_core.training.store import require_file_name
from .. import comfy_host as host
from ..schema import Node, accepted, advanced, schema
from .loras import with_lora

MOST = 8
NONE = "none"
EXPERTS = ("auto", "high_noise", "low_noise")


class MergeSubjectLoras(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_MergeSubjectLoRAs",
            display_name="Merge Subject LoRAs",
            description=(
                "Averages up to 8 LoRAs for Wan, by any trainer, exactly: applied to the model, and "
                "saved as a file that ComfyUI's Load LoRA reads."
            ),
            search_aliases=["merge lora", "average lora", "convert lora", "combine lora", "wan lora"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="Wan 2.1 or 2.2, from Load Diffusion Model."),
                *(one for i in range(1, MOST + 1) for one in _row(i)),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-20.0,
                    max=20.0,
                    step=0.05,
                    tooltip="Strength of the average on the model; 0 is off. It does not change the file.",
                ),
                io.String.Input(
                    "file_name",
                    default="",
                    tooltip=(
                        "Saved as models/loras/videomage/<file_name>.safetensors; a number is appended if the "
                        "name is taken. Empty: no file."
                    ),
                ),
                advanced(
                    io.Combo.Input(
                        "expert",
                        list(EXPERTS),
                        default=EXPERTS[0],
                        tooltip="Which expert of Wan 2.2 this model is, if the files hold both; auto: the files hold "
                        "one.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "dtype",
                        ["fp32", "fp16", "bf16"],
                        default="fp32",
                        tooltip="Precision of the file: fp32 is exact, the others are half as large.",
                    )
                ),
            ],
            outputs=[
                io.Model.Output("patched", display_name="MODEL", tooltip="The model with the average of the LoRAs."),
                io.String.Output(
                    "path",
                    display_name="path",
                    tooltip="Paths of the saved files, one per line; empty without a file name.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, file_name: str | None = None) -> bool | str:
        return accepted(lambda: file_name and require_file_name(file_name))

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        """Run again when a file changed."""
        return [(name, host.lora_file(name).stat().st_mtime_ns) for name, _ in _chosen(inputs)], sorted(
            (key, value) for key, value in inputs.items() if isinstance(value, str | float | int)
        )

    @classmethod
    def execute(cls, model: Any, strength: float, file_name: str, expert: str, dtype: str, **inputs: Any) -> Any:
        chosen = _chosen(inputs)
        if not chosen:
            raise ValueError("lora_1: choose at least one LoRA; those in models/loras appear after a refresh (R)")
        if file_name:
            require_file_name(file_name)
        loras = [read_wan_lora(host.lora_file(name)) for name, _ in chosen]
        merged = merge_wan_loras(loras, [weight for _, weight in chosen])
        patched = with_lora(model, merged.state_dict(_expert(merged, expert)), strength)
        saved = publish_wan_lora(host.loras_folder(), file_name, merged, dtype) if file_name else []
        said = "\n".join([merged.scale, *(f"videomage/{path.name}" for path in saved)])
        return io.NodeOutput(patched, "\n".join(map(str, saved)), ui=ui.PreviewText(said))


def _row(number: int) -> list[io.Input]:
    names = ([] if number == 1 else [NONE]) + host.lora_names()
    return [
        io.Combo.Input(
            f"lora_{number}",
            names,
            optional=number > 1,
            tooltip=f"LoRA {number}: a file in models/loras for this size of Wan."
            + (" 'none' leaves it out." if number > 1 else ""),
        ),
        io.Float.Input(
            f"weight_{number}",
            default=1.0,
            min=0.0,
            max=100.0,
            step=0.05,
            optional=True,
            tooltip=f"Weight of LoRA {number} in the average; weights are divided by their sum. 0 leaves it out.",
        ),
    ]


def _chosen(inputs: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(file, weight) of each that takes part."""
    rows = [(inputs.get(f"lora_{i}"), inputs.get(f"weight_{i}", 1.0)) for i in range(1, MOST + 1)]
    return [(name, weight) for name, weight in rows if name and name != NONE and weight]


def _expert(merged: WanLora, chosen: str) -> str:
    """The part of a merge that the model gets; ValueError where it has to be chosen."""
    experts = sorted(merged.experts)
    if chosen in experts or len(experts) == 1:
        return chosen if chosen in experts else experts[0]
    raise ValueError(
        f"expert: got {chosen!r}, these files hold {' and '.join(experts)}; choose the one that this model is, and use "
        "a second node for the other"
    )
