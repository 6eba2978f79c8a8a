"""What a training stage gives back, and what all of them do at their end."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from ..callbacks import Callbacks
from ..config import SamplingConfig, TrainingConfig
from ..data.lora_file import LoraModel
from ..data.media import to_uint8
from ..history import History
from ..model.backbone import Backbone
from ..model.text import SpecialToken
from ..sampling import generate_videos

_PACKAGES = ("torch", "diffusers", "transformers", "peft")


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    Attributes:
        lora_model: what to save with ``save_lora``, sample with, or fuse.
        history: losses and seconds, one value per step.
        sample: a video [3, F, H, W] in -1..1 sampled after training, or None.
    """

    lora_model: LoraModel
    history: History
    sample: torch.Tensor | None


def metadata(config: TrainingConfig, **more: Any) -> dict[str, Any]:
    """What a LoRA file tells about its making: settings and versions, no path and no prompt."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"settings": dataclasses.asdict(config), "versions": versions, **more}


def sample_video(
    backbone: Backbone,
    prompt: str,
    seed: int,
    sampling: SamplingConfig,
    callbacks: Callbacks,
    tokens: Sequence[SpecialToken] = (),
) -> torch.Tensor:
    """One video [3, F, H, W] of the base as it stands, to look at."""
    frozen = [dataclasses.replace(token, vectors=token.vectors.detach()) for token in tokens]
    return generate_videos(backbone, [prompt], [seed], sampling, callbacks.without_preview(), frozen)[0].cpu()


def thumbnail(video: torch.Tensor | None) -> Image.Image | None:
    """The middle frame of a video [3, F, H, W]."""
    if video is None:
        return None
    return Image.fromarray(to_uint8(video)[video.shape[1] // 2])
