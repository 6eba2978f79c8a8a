"""A small fusion: its settings, and what its tests share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from videomage_core.config import FusionConfig
from videomage_core.data.cutmix import CutMix
from videomage_core.model import lora
from videomage_core.model.lora_weights import LoraWeights
from videomage_core.stages.fusion import fuse_subjects
from videomage_core.stages.fusion_data import Teacher

CONFIG = FusionConfig(
    steps=3, frames=2, height=24, width=24, learning_rate=1e-3, save_every_n_steps=2,
    teacher_videos=1, teacher_steps=1, teacher_guidance_scale=1.0, cutmix_videos=1,
)  # fmt: skip
PAIR = "A <toy> and a <pet>"


class Box:
    """Finds a subject always in the same place."""

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        mask = torch.zeros(1, *pixels.shape[1:])
        mask[..., 4:16, 6:20] = 1
        return mask


def fuse(base, subjects, folder: Path, config: FusionConfig = CONFIG, **more):
    more.setdefault("segmenter", Box())
    return fuse_subjects(base, subjects, config, folder, **more)


def factors(weights: LoraWeights) -> torch.Tensor:
    return torch.cat([factor.flatten() for pair in weights.layers.values() for factor in pair])


def seeded(seed: int = 2) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pasted(frames: int = 2, side: int = 24) -> CutMix:
    """Two subjects whose masks are no multiples of a latent's size, one partly covered."""
    masks = torch.zeros(2, frames, side, side)
    masks[0, :, 3:12, 2:11] = 1
    masks[1, :, 10:21, 8:23] = 1
    masks[0] *= 1 - masks[1]
    return CutMix(torch.rand(3, frames, side, side, generator=seeded()) * 2 - 1, masks)


def teacher(base, lora_model, adapter: str, videos: int = 2) -> Teacher:
    """A subject on the base, with noise for videos."""
    lora.load(base, adapter, lora_model.weights)
    latents = torch.randn(videos, 6, 2, 6, 6, generator=seeded(len(adapter)))
    prompts = [f"A {lora_model.tokens[0].name}", f"{lora_model.tokens[0].name} at night"][:videos]
    return Teacher(adapter, latents, base.encode_prompt(prompts, lora_model.tokens))
