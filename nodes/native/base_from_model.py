"""Video Base from Model: core's MODEL, CLIP and VAE of a Wan as a base to train on."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..schema import Base, Node, advanced, schema
from .core_base import CHECKPOINTING, NOISE, base_of_model


class BaseFromModel(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="VideoMage_BaseFromModel",
            display_name="Video Base from Model",
            description=(
                "Makes a base of ComfyUI's own Wan 2.1 or 2.2 text-to-video model, so that subjects, motions and "
                "fusions are trained on it. The LoRA files work in every Load LoRA node."
            ),
            search_aliases=["wan", "train lora", "lora training", "load video base"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Wan 2.1 T2V, or one of Wan 2.2's two T2V models, from Load Diffusion Model; a "
                    "ModelSamplingSD3 between sets the shift of the noise levels, 3 to 5 for training.",
                ),
                io.Clip.Input("clip", tooltip="Wan's text encoder: Load CLIP of type wan."),
                io.Vae.Input("vae", tooltip="wan_2.1_vae, also for Wan 2.2's 14B models."),
                io.Combo.Input(
                    "expert",
                    list(NOISE),
                    default="none",
                    tooltip="Wan 2.2 has two models, one for high and one for low noise: train both, each with its own "
                    "base. Only that model's noise levels are trained, and its file's name ends in _high_noise or "
                    "_low_noise. none: Wan 2.1.",
                ),
                advanced(
                    io.Combo.Input(
                        "gradient_checkpointing",
                        list(CHECKPOINTING),
                        default="auto",
                        tooltip="Recompute activations in the backward pass: far less VRAM, about a third slower. "
                        "auto: where it is needed.",
                    )
                ),
            ],
            outputs=[Base.Output("base_model", display_name="base", tooltip="The base, for the training nodes.")],
        )

    @classmethod
    def execute(cls, model: Any, clip: Any, vae: Any, expert: str, gradient_checkpointing: str) -> Any:
        with torch.inference_mode(False):
            return io.NodeOutput(base_of_model(model, clip, vae, expert, gradient_checkpointing))
