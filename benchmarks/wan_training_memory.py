"""Bytes that a training step on Wan takes on the device, counted on tensors without values (``counting``).

    python -m benchmarks.wan_training_memory

Counted are the network's weights as stored, the LoRA with its gradients and AdamW's moments in float32, and the most
bytes of activations alive at once in a step, in bf16.  Not counted: the text encoder and the autoencoder, which are off
the device during steps, workspaces of kernels, and what an allocator cannot use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import torch

from benchmarks.counting import peak_bytes
from benchmarks.stage_steps import TRAINED
from videomage_core.config import FusionConfig, MotionConfig, SubjectConfig
from videomage_core.data.cutmix import CutMix
from videomage_core.model import lora
from videomage_core.model.text import TokenSpan
from videomage_core.model.wan import WanBackbone
from videomage_core.model.wan_text import PaddedText
from videomage_core.stages.fusion import attention_loss, fusion_loss
from videomage_core.stages.fusion_data import Teacher
from videomage_core.stages.motion_lora import _Example, motion_loss
from videomage_core.stages.subject_lora import prediction_error

HEIGHT, WIDTH, TOKENS, META = 480, 832, 24, torch.device("meta")
SUBJECTS = 2
COUNTED = (2, 4)  # blocks
Job = Callable[[], None]


@dataclass(frozen=True)
class Size:
    """A published Wan: its name, width, heads, feed-forward, blocks, and bytes of a weight as users store it."""

    name: str
    heads: int
    ffn: int
    blocks: int
    stored: int


SIZES = (Size("1.3B (fp16)", 12, 8960, 30, 2), Size("14B (fp8)", 40, 13824, 40, 1))


def base_of(size: Size, blocks: int) -> WanBackbone:
    """A base of a size with some of its blocks, without values; half of its heads are temporal."""
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    with META:
        transformer = WanTransformer3DModel(
            num_attention_heads=size.heads, attention_head_dim=128, ffn_dim=size.ffn, num_layers=blocks
        ).to(torch.bfloat16)
        vae = AutoencoderKLWan(base_dim=8)
    base = WanBackbone("wan", transformer, vae, torch.nn.Linear(1, 1), mock.Mock(model_max_length=512), 3.0)
    base._heads = torch.arange(size.heads).remainder(2).bool().expand(blocks, -1)
    return base


def text(count: int = 1) -> PaddedText:
    return PaddedText(torch.zeros(count, TOKENS, 4096, device=META), torch.full((count,), TOKENS - 1))


def latents(base: WanBackbone, frames: int) -> torch.Tensor:
    return torch.zeros(1, *base.latent_shape(frames, HEIGHT, WIDTH), device=META)


@contextmanager
def subject(base: WanBackbone, frames: int) -> Iterator[tuple[Job, int]]:
    """L_sub of an image and L_reg of a clip (Eq. 4)."""
    with lora.trainable_adapter(base, "subject", base.targets("spatial"), SubjectConfig()) as parameters:
        image, clip = latents(base, 1), latents(base, frames)

        def job() -> None:
            generator = torch.Generator().manual_seed(0)
            loss = sum(prediction_error(base, x0, text(), generator).mean() for x0 in (image, clip))
            torch.autograd.grad(loss, list(parameters.values()))  # type: ignore[arg-type]

        yield job, _bytes(list(parameters.values()), TRAINED)


@contextmanager
def motion(base: WanBackbone, frames: int) -> Iterator[tuple[Job, int]]:
    """L_mot (Eq. 5)."""
    config = MotionConfig(frames=frames)
    with lora.trainable_adapter(base, "motion", base.targets("temporal"), config) as parameters:
        example = _Example(latents(base, frames), text(), text())

        def job() -> None:
            loss = motion_loss(base, [example], config, torch.Generator().manual_seed(0))["L_mot"]
            torch.autograd.grad(loss, list(parameters.values()))

        yield job, _bytes(list(parameters.values()), TRAINED)


@contextmanager
def fusion(base: WanBackbone, frames: int) -> Iterator[tuple[Job, int]]:
    """L_fusion of two subjects, then L_attn of a pair (Eq. 6-8)."""
    config = FusionConfig(frames=frames, height=HEIGHT, width=WIDTH)
    with lora.restore_adapters(base):
        teachers, held = [], 0
        for n in range(SUBJECTS):
            held += _bytes(lora.add(base, f"teacher_{n}", base.targets("spatial"), rank=4), 1)
            teachers.append(Teacher(f"teacher_{n}", latents(base, frames), text()))
        parameters = lora.add(base, "fused", base.targets("spatial"), rank=4 * SUBJECTS)
        pixels, x0, layers = (
            torch.zeros(3, frames, HEIGHT, WIDTH),
            latents(base, frames),
            base.attention_layers("cross"),
        )
        pair = CutMix(pixels, torch.zeros(2, *pixels.shape[1:]))
        spans = [TokenSpan("<a>", (1,)), TokenSpan("<b>", (3,))]

        def job() -> None:
            generator = torch.Generator().manual_seed(0)
            torch.autograd.grad(fusion_loss(base, teachers, config.batch_size, generator), parameters)
            with base.record(layers, spans, stop=True) as maps:
                base.record_forward(x0, base.random_level(1, generator), text())
                loss = attention_loss(list(maps.cross.values()), pair.masks.to(META), base.temporal_factor)
                torch.autograd.grad(loss, parameters, allow_unused=True)  # recomputed as recorded

        with lora.use_adapters(base, {"fused": 1.0}):
            yield job, held + _bytes(parameters, TRAINED)


def _bytes(parameters: list[torch.nn.Parameter], held: int) -> int:
    return sum(parameter.nbytes for parameter in parameters) * held


def gigabytes(base: WanBackbone, size: Size, stage: Callable[..., object], frames: int, recompute: bool) -> float:
    """One step's, in GB: weights, LoRA and activations."""
    weights = sum(weight.numel() for weight in base.network.parameters()) * size.stored
    with stage(base, frames) as (job, loras):  # type: ignore[attr-defined]
        if recompute:
            with base.checkpointing():
                activations = peak_bytes(job, (base.network,))
        else:
            activations = peak_bytes(job, (base.network,))
    return (weights + loras + activations) / 1e9


def main() -> None:
    print("| model, frames | subject: on, off | motion: on, off | fusion of 2: on, off |\n|---|---|---|---|")
    for size in SIZES:
        bases = [base_of(size, blocks) for blocks in COUNTED]
        for frames in (33, 81):
            cells = []
            for stage in (subject, motion, fusion):
                both = [whole(bases, size, stage, frames, recompute) for recompute in (True, False)]
                cells.append(", ".join(f"{value:.0f}" if value >= 10 else f"{value:.1f}" for value in both))
            print(f"| {size.name}, {frames} | {' | '.join(cells)} |", flush=True)


def whole(bases: list[WanBackbone], size: Size, stage: Callable[..., object], frames: int, recompute: bool) -> float:
    """GB of all blocks, from those of two depths."""
    few, more = (gigabytes(base, size, stage, frames, recompute) for base in bases)
    return few + (size.blocks - COUNTED[0]) * (more - few) / (COUNTED[1] - COUNTED[0])


if __name__ == "__main__":
    main()
