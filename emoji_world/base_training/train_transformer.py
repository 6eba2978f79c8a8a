"""Stages 2 and 3 of ``emoji_wan``: text encoder and transformer, on stills, then on clips among stills.

A still is a clip of one frame: the same layers, no trick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from transformers import BatchEncoding, PreTrainedTokenizerBase

from ..world.scene import Scene
from .cosine_loop import autocast
from .framewise import require_frame_wise
from .text_to_video import TextToVideo
from .train_autoencoder import FrameAutoencoder
from .train_loop import LoopConfig, TrainLoop
from .train_vae import to_pixels

TEXT_PLACES = 28  # tokens of a caption, end of text and at least one place of padding

CaptionOf = Callable[[Scene, np.random.Generator, bool], str]
"""One phrasing of a scene, empty now and then: (scene, source of randomness, still or clip)."""


@dataclass(frozen=True)
class Part:
    """What a training step draws from.

    Attributes:
        scenes: N of them.
        latents: normalised, [N, C, F, h, w].
        batch: samples of a step.
    """

    scenes: list[Scene]
    latents: torch.Tensor
    batch: int

    @property
    def still(self) -> bool:
        return self.latents.shape[2] == 1


@torch.no_grad()
def encode(autoencoder: AutoencoderKLWan, pixels: np.ndarray, device: str = "cpu", batch: int = 64) -> torch.Tensor:
    """Normalised latents, fp16 [N, C, F, h, w], of clips uint8 [N, F, H, W, 3], each frame alone.

    Args:
        autoencoder: a trained, causal one that acts on each frame alone.
        pixels: the clips.
        device: "cpu" or "cuda".
        batch: frames at a time.
    """
    require_frame_wise(autoencoder)
    frames = FrameAutoencoder(_copy(autoencoder)).to(device).eval()
    mean, std = (torch.tensor(autoencoder.config[n]).view(1, -1, 1, 1) for n in ("latents_mean", "latents_std"))
    flat = pixels.reshape(-1, *pixels.shape[2:])
    parts = []
    for start in range(0, len(flat), batch):
        with autocast_where_fast(device):
            mode = frames.encode(to_pixels(flat[start : start + batch]).to(device)).mode().squeeze(2)
        parts.append(((mode.float().cpu() - mean) / std).half())
    latents = torch.cat(parts).unflatten(0, pixels.shape[:2])  # [N*F,C,h,w] -> [N,F,C,h,w]
    return latents.transpose(1, 2).contiguous()  # -> [N,C,F,h,w]


def _copy(autoencoder: AutoencoderKLWan) -> AutoencoderKLWan:
    copied = AutoencoderKLWan.from_config(autoencoder.config)
    copied.load_state_dict(autoencoder.state_dict())
    return copied


def has_fast_bf16(device: str) -> bool:
    """Whether bf16 is worth it: on a GPU, and on a CPU with matrix instructions for it (AMX)."""
    return device != "cpu" or torch.cpu._is_amx_tile_supported()


def autocast_where_fast(device: str) -> Any:
    """bf16 autocast, weights and their updates in fp32, where bf16 is fast; else nothing."""
    return autocast(torch.device(device)) if has_fast_bf16(device) else torch.autocast("cpu", enabled=False)


def train_transformer(
    checkpoint: Path,
    parts: list[Part],
    tokenizer: PreTrainedTokenizerBase,
    caption_of: CaptionOf,
    config: LoopConfig,
    start: dict[str, Any] | None = None,
    device: str = "cpu",
    compiled: bool = True,
) -> TextToVideo:
    """Train, or resume, text encoder and transformer; return them with averaged weights.

    Args:
        checkpoint: where the state is kept.
        parts: steps take them by turns.
        tokenizer: the base's tokenizer.
        caption_of: phrases a scene.
        config: the training loop's settings.
        start: a state dict of ``TextToVideo`` to begin from.
        device: "cpu" or "cuda".
        compiled: compile the transformer's blocks; needs a C++ compiler on a CPU.
    """
    torch.manual_seed(0)
    model = TextToVideo(len(tokenizer)).to(device)
    if compiled:
        model.compile_blocks()
    loop = TrainLoop(model, checkpoint, config, start)

    def loss_fn(step: int) -> torch.Tensor:
        part = parts[step % len(parts)]
        rng = np.random.default_rng([step, 3])
        chosen = rng.choice(len(part.latents), size=part.batch, replace=False)
        texts = [caption_of(part.scenes[i], rng, part.still) for i in chosen]
        tokens = tokenized(tokenizer, texts).to(device)
        x0 = part.latents[torch.from_numpy(chosen)].float().to(device)
        with autocast_where_fast(device):
            return model.loss(x0, tokens["input_ids"], tokens["attention_mask"])

    return cast(TextToVideo, loop.run(loss_fn))


def tokenized(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> BatchEncoding:
    """Tokens and their mask [B, T], cut so that the last place is padding."""
    rows = tokenizer(texts, truncation=True, max_length=TEXT_PLACES - 1)
    return tokenizer.pad(rows, padding="max_length", max_length=TEXT_PLACES, return_tensors="pt")
