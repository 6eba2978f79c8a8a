"""How much of a base is in the device's memory at once: three modes, and which of them fits.

| mode   | weights on the device                    | activations for gradients      | a batch of videos |
|--------|------------------------------------------|--------------------------------|-------------------|
| high   | all                                      | kept                           | together          |
| medium | the denoising network; others while used | recomputed, layer by layer     | together          |
| low    | one layer of the network at a time       | recomputed, layer by layer     | one by one        |

The results are the same to rounding, but for the autoencoder's: in "low" it takes frames larger than those it was
trained on in overlapping tiles, as diffusers does, whose seams are blended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..config import CollaborativeConfig, FusionConfig, MotionConfig, SamplingConfig, SubjectConfig
from .backbone import Backbone, Gradients, MemoryMode

HIGH = MemoryMode("high")
MEDIUM = MemoryMode("medium", keep_encoders=False, gradient_checkpointing=True)
LOW = MemoryMode(
    "low", keep_encoders=False, gradient_checkpointing=True, keep_weights=False, sequential_batch=True, vae_tiling=True
)
MODES = {mode.name: mode for mode in (HIGH, MEDIUM, LOW)}
CHOICES = ("auto", *MODES)

_MARGIN = 1.25  # what is counted is not all: workspaces, fragments, what others take meanwhile


@dataclass(frozen=True)
class Workload:
    """A pass through the network.

    Attributes:
        frames: of all videos that are in memory at once, together.
        height: in pixels.
        width: in pixels.
        videos: how many they are, if they can be taken one by one.
        trains: gradients are taken.
        branches: how many of its passes have activations in memory at once, unless they are recomputed.
    """

    frames: int
    height: int
    width: int
    videos: int = 1
    trains: bool = False
    branches: int = 1

    def memory(self, backbone: Backbone, mode: MemoryMode) -> int:
        """Bytes of activations in a mode, an estimate; ValueError for a size that the base cannot make."""
        gradients: Gradients = (
            "none" if not self.trains else "checkpointed" if mode.gradient_checkpointing else "stored"
        )
        frames = self.frames * (1 if mode.gradient_checkpointing else self.branches)
        if mode.sequential_batch and not self.trains:
            frames = -(-frames // self.videos)
        return backbone.activation_memory(frames, self.height, self.width, gradients)


def workloads_for(config: object, subjects: int = 2) -> list[Workload]:
    """The heaviest passes of a stage: those of ``subjects`` LoRAs for a fusion."""
    size = (config.height, config.width)  # type: ignore[attr-defined]
    if isinstance(config, SubjectConfig):  # L_sub's pictures and L_reg's clip are in one step
        clip = config.auxiliary_frames if config.lambda1 else 0
        workloads = [Workload(config.batch_size + clip, *size, trains=True)]
        return [*workloads, _guided(clip, *size, config.auxiliary_guidance_scale)] if clip else workloads
    if isinstance(config, MotionConfig):
        return [Workload(config.batch_size * config.frames, *size, trains=True)]
    if isinstance(config, FusionConfig):  # L_fusion's videos and L_attn's pair are in one step
        videos = (config.batch_size or subjects) + (1 if config.lambda2 else 0)
        learning = Workload(videos * config.frames, *size, trains=True)
        return [learning, _guided(config.frames, *size, config.teacher_guidance_scale)]
    assert isinstance(config, SamplingConfig)
    workloads = [_guided(config.frames, *size, config.guidance_scale)]
    if isinstance(config, CollaborativeConfig) and config.tau and config.alpha:
        workloads.append(Workload(config.frames, *size, trains=True, branches=2))
    return workloads


def _guided(frames: int, height: int, width: int, scale: float) -> Workload:
    """A denoising step: under guidance two videos at once."""
    videos = 1 if scale == 1 else 2
    return Workload(frames * videos, height, width, videos)


def required_memory(backbone: Backbone, workloads: Sequence[Workload], mode: MemoryMode) -> int:
    """Bytes that the work takes on the device in a mode, weights and all: an estimate."""
    activations = max((work.memory(backbone, mode) for work in workloads), default=0)
    return int(_MARGIN * (backbone.weights_memory(mode) + activations))


def choose_mode(name: str, backbone: Backbone, workloads: Sequence[Workload], free: int | None) -> MemoryMode:
    """A mode by its name; "auto" is the first of high, medium and low that fits.

    Args:
        name: one of ``CHOICES``.
        backbone: the base.
        works: what is to be done.
        free: bytes of the device that can be had; None: nobody knows, and "auto" is medium.

    Raises:
        ValueError: an unknown name.
    """
    check_mode(name)
    if name in MODES:
        return MODES[name]
    if free is None:
        return MEDIUM
    fitting = (mode for mode in (HIGH, MEDIUM) if required_memory(backbone, workloads, mode) <= free)
    return next(fitting, LOW)


def check_mode(name: str) -> None:
    """ValueError for a mode that there is not."""
    if name not in CHOICES:
        raise ValueError(f"memory: got {name!r}, allowed: {', '.join(map(repr, CHOICES))}")


def free_memory(device: torch.device) -> int | None:
    """Bytes of a device that can be had; None where nobody says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    said = Path("/proc/meminfo")
    if device.type != "cpu" or not said.is_file():
        return None
    lines = said.read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it is what Python, a GPU's, Apple's or the CPU's allocator raises, each in its way."""
    said = str(error).lower()
    told = ("out of memory", "not enough memory", "allocate memory")
    return isinstance(error, MemoryError) or any(words in said for words in told)
