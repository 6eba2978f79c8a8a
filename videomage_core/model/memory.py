"""Memory modes: how much of a base is on the device at once, and which mode fits.

| mode   | weights on the device                    | activations for gradients      | a batch of videos |
|--------|------------------------------------------|--------------------------------|-------------------|
| high   | all                                      | stored                         | together          |
| medium | the denoising network; others while used | recomputed, layer by layer     | together          |
| low    | one layer of the network at a time       | recomputed, layer by layer     | one at a time     |

The results are the same to rounding, except that in "low" the autoencoder splits frames larger than those it was
trained on into overlapping tiles, as diffusers does, and blends the seams.
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

_MARGIN = 1.25  # for what is not counted: workspaces, fragmentation, other programs


@dataclass(frozen=True)
class Workload:
    """A pass through the network.

    Attributes:
        lengths: frames of each video that is in memory at once.
        height: in pixels.
        width: in pixels.
        separable: the videos can be processed one at a time.
        trains: gradients are computed.
        branches: number of passes whose activations are in memory at once, unless they are recomputed.
    """

    lengths: tuple[int, ...]
    height: int
    width: int
    separable: bool = False
    trains: bool = False
    branches: int = 1

    def memory(self, backbone: Backbone, mode: MemoryMode) -> int:
        """Estimated bytes of activations in a mode; ValueError for a size that the base cannot generate."""
        gradients: Gradients = (
            "none" if not self.trains else "checkpointed" if mode.gradient_checkpointing else "stored"
        )
        lengths = self.lengths * (1 if mode.gradient_checkpointing else self.branches)
        if self.separable and mode.sequential_batch and not self.trains:
            lengths = lengths[:1]
        return backbone.activation_memory(lengths, self.height, self.width, gradients)


def workloads_for(config: object, subjects: int = 2) -> list[Workload]:
    """The most demanding passes of a stage; ``subjects`` is the number of LoRAs of a fusion."""
    size = (config.height, config.width)  # type: ignore[attr-defined]
    if isinstance(config, SubjectConfig):  # L_sub's images and L_reg's clip are in one step
        images, clip = (1,) * config.batch_size, config.auxiliary_frames
        if not config.lambda1:
            return [Workload(images, *size, trains=True)]
        learning = Workload((*images, clip), *size, trains=True)
        return [learning, _guided(clip, *size, config.auxiliary_guidance_scale)]
    if isinstance(config, MotionConfig):
        return [Workload((config.frames,) * config.batch_size, *size, trains=True)]
    if isinstance(config, FusionConfig):  # L_fusion's videos and L_attn's pair are in one step
        videos = (config.batch_size or subjects) + (1 if config.lambda2 else 0)
        learning = Workload((config.frames,) * videos, *size, trains=True)
        return [learning, _guided(config.frames, *size, config.teacher_guidance_scale)]
    assert isinstance(config, SamplingConfig)
    workloads = [_guided(config.frames, *size, config.guidance_scale)]
    if isinstance(config, CollaborativeConfig) and config.tau and config.alpha:
        workloads.append(Workload((config.frames,), *size, trains=True, branches=2))
    return workloads


def _guided(frames: int, height: int, width: int, scale: float) -> Workload:
    """One denoising step; under guidance, two videos at once."""
    videos = 1 if scale == 1 else 2
    return Workload((frames,) * videos, height, width, separable=True)


def required_memory(backbone: Backbone, workloads: Sequence[Workload], mode: MemoryMode) -> int:
    """Estimated bytes on the device in a mode, weights included."""
    activations = max((work.memory(backbone, mode) for work in workloads), default=0)
    return int(_MARGIN * (backbone.weights_memory(mode) + activations))


def choose_mode(name: str, backbone: Backbone, workloads: Sequence[Workload], free: int | None) -> MemoryMode:
    """A mode by its name; "auto" is the first of high, medium and low that fits.

    Args:
        name: one of ``CHOICES``.
        backbone: the base.
        workloads: to fit.
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
    """ValueError for an unknown mode."""
    if name not in CHOICES:
        raise ValueError(f"memory: got {name!r}, allowed: {', '.join(map(repr, CHOICES))}")


def free_memory(device: torch.device) -> int | None:
    """Available bytes of a device; None if unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    meminfo = Path("/proc/meminfo")
    if device.type != "cpu" or not meminfo.is_file():
        return None
    lines = meminfo.read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is Python's, CUDA's, Apple's or the CPU allocator's out-of-memory error."""
    message = str(error).lower()
    phrases = ("out of memory", "not enough memory", "allocate memory")
    return isinstance(error, MemoryError) or any(phrase in message for phrase in phrases)
