"""A benchmark's videos on disk: one safetensors file each, named by its caller after all that it depends on."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..atomic_write import partial_file
from .grid import Cell


@dataclass(frozen=True)
class GeneratedVideo:
    """One video of the benchmark.

    Attributes:
        method: its name.
        cell: what was asked.
        video: uint8 [F, H, W, 3].
        seconds: of sampling alone.
        memory_mb: the most that sampling held beyond what was held before it; None if nobody says.
    """

    method: str
    cell: Cell
    video: np.ndarray
    seconds: float
    memory_mb: float | None


def write_video(path: Path, generated: GeneratedVideo) -> None:
    """Write one video, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_file(path)
    about = {"seconds": generated.seconds, "memory_mb": generated.memory_mb}
    try:
        save_file(
            {"video": torch.from_numpy(generated.video).contiguous()}, partial, metadata={"about": json.dumps(about)}
        )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_video(path: Path, method: str, cell: Cell) -> GeneratedVideo | None:
    """The cached video; None if there is none, or if it is damaged: it is made again."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            video = file.get_tensor("video").clone().numpy()
        return GeneratedVideo(method, cell, video, about["seconds"], about["memory_mb"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
