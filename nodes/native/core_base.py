"""A base of core's MODEL, CLIP and VAE, with the memory that the core manages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...videomage_core.model.backbone import MemoryMode
from ...videomage_core.model.memory import Workload, required_memory
from ...videomage_core.presets import PRESETS, Preset
from ..comfy_memory import available_memory
from .core_wan import RECOMPUTED, STORED, CoreWanBackbone
from .supported import require_trainable, require_vae, unused_options

# Experts of Wan 2.2's 14B models, and the share of noise at which they change (Wan's own setting for text to video).
BOUNDARY = 0.875
NOISE = {"none": (0.0, 1.0), "high_noise": (BOUNDARY, 1.0), "low_noise": (0.0, BOUNDARY)}
CHECKPOINTING = {"on": (RECOMPUTED,), "off": (STORED,), "auto": (STORED, RECOMPUTED)}
_SIZES = {(1536, 30): "1.3B", (5120, 40): "14B"}  # by width and blocks


@dataclass(frozen=True)
class CoreBase:
    """A base as nodes take it (``comfy_memory.HostedBase``); nothing of it is ours to move.

    Attributes:
        name: of the base.
        backbone: the engine's.
        preset: settings that suit it.
        checkpointing: "auto", "on" or "off".
        file_suffix: of the LoRA files that are trained on it.
    """

    name: str
    backbone: CoreWanBackbone
    preset: Preset
    checkpointing: str
    file_suffix: str

    def mode_for(self, workloads: Sequence[Workload]) -> MemoryMode:
        """Whether activations are stored or recomputed: stored, if asked for or if the workloads fit so."""
        modes, backbone = CHECKPOINTING[self.checkpointing], self.backbone
        free = available_memory(backbone.device) - backbone.patcher.model_size()
        return next((mode for mode in modes if required_memory(backbone, workloads, mode) <= free), modes[-1])

    def load(self, mode: MemoryMode, workloads: Sequence[Workload]) -> None:
        """Have the core load the MODEL, with room for the workloads."""
        import comfy.model_management as management

        backbone = self.backbone
        backbone.use_memory(mode)
        backbone.beside = required_memory(backbone, workloads, mode)
        management.load_models_gpu([backbone.patcher], memory_required=backbone.beside)

    def less_memory(self, mode: MemoryMode) -> str | None:
        """What to set to which value to take less memory than in a mode, if that can be."""
        return None if mode.gradient_checkpointing else "gradient_checkpointing of Video Base from Model to 'on'"


def base_of_model(model: Any, clip: Any, vae: Any, expert: str, checkpointing: str) -> CoreBase:
    """A base of three of core's objects; nothing is loaded.

    Args:
        model: a MODEL of a text-to-video Wan, without LoRAs.
        clip: its CLIP.
        vae: its VAE.
        expert: "none", or which of Wan 2.2's two models it is: "high_noise" or "low_noise".
        checkpointing: "on", "off", or "auto".

    Raises:
        ValueError: one of them does not fit; with advice.
    """
    require_trainable(model)
    require_vae(vae)
    unused = unused_options(model)
    if unused:
        logging.warning(
            "Video Base from Model: this base does without what other nodes have set: %s", ", ".join(unused)
        )
    network = model.model.diffusion_model
    size = _SIZES.get((network.dim, network.num_layers), f"{network.dim}x{network.num_layers}")
    name = " ".join(["Wan", size, *([] if expert == "none" else [expert.replace("_", " ")])])
    backbone = CoreWanBackbone(name, model, clip, vae, NOISE[expert])
    return CoreBase(name, backbone, PRESETS["wan"], checkpointing, "" if expert == "none" else f"_{expert}")
