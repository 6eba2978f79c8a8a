"""What the fusion learns from: each subject's own videos, and cut-outs of them to paste together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..cache_key import cache_key
from ..callbacks import Callbacks
from ..config import FusionConfig, SamplingConfig
from ..data.cutmix import CutMix, Cutout, cut_out, cutmix, resample_frames
from ..data.lora_file import LoraModel
from ..data.masks import GivenMasks, PlainBackground, Segmenter
from ..model import lora
from ..model.backbone import Backbone
from ..model.encoded_text import EncodedText
from ..model.fingerprint import Fingerprint
from .generated_clips import generate_clips

# What the subjects' own LoRAs are asked to show; {subject} stands for the token.
TEACHER_PROMPTS = (
    "A {subject}",
    "A video of a {subject}",
    "A {subject} in a park",
    "A {subject} on a beach",
)
CUTMIX_PROMPT = "A {subject} on a plain background"
CLEAN_PROMPT = "An empty plain background"


@dataclass(frozen=True)
class FusionPrompts:
    """Prompts of the videos generated for the fusion; {subject} stands for a token.

    Attributes:
        teacher: c_n of L_fusion, used in turn.
        cutmix: for the single-subject videos that are cut out for L_attn.
        clean: for the background video onto which they are pasted.
    """

    teacher: tuple[str, ...] = TEACHER_PROMPTS
    cutmix: str = CUTMIX_PROMPT
    clean: str = CLEAN_PROMPT

    def __post_init__(self) -> None:
        if not self.teacher:
            raise ValueError("teacher prompts: got none, give at least one with {subject}")
        for prompt in (*self.teacher, self.cutmix):
            if "{subject}" not in prompt:
                raise ValueError(f"prompt: got {prompt!r}, must hold {{subject}} where the token is to stand")


@dataclass(frozen=True)
class Teacher:
    """One subject as its own LoRA shows it."""

    adapter: str
    latents: torch.Tensor  # [V, C, f, h, w]
    texts: EncodedText  # V


@dataclass(frozen=True)
class CutMixSources:
    """What CutMix pairs are made of."""

    cutouts: list[list[Cutout]]  # of each subject
    background: torch.Tensor  # [3, F, H, W]
    names: list[str]  # each subject's token


def prepare_fusion_data(
    backbone: Backbone,
    subjects: Sequence[LoraModel],
    config: FusionConfig,
    prompts: FusionPrompts,
    segmenter: Segmenter | None,
    folder: Path,
    base_fingerprint: Fingerprint,
    callbacks: Callbacks,
) -> tuple[list[Teacher], CutMixSources | None]:
    """Put each subject's LoRA on the base, and have it make its videos."""
    sampling = SamplingConfig(
        frames=config.frames,
        height=config.height,
        width=config.width,
        steps=config.teacher_steps,
        guidance_scale=config.teacher_guidance_scale,
    )
    teachers, cutouts = [], []
    for n, lora_model in enumerate(subjects):
        adapter, name = f"teacher_{n}", lora_model.tokens[0].name
        lora.load(backbone, adapter, lora_model.weights)
        weights = lora_model.weights
        generated_by = (
            base_fingerprint,
            weights.scale,
            *weights.layers,
            *(f for pair in weights.layers.values() for f in pair),
        )
        teacher_prompts = [
            prompts.teacher[i % len(prompts.teacher)].replace("{subject}", name) for i in range(config.teacher_videos)
        ]
        count = config.cutmix_videos if config.lambda2 and not lora_model.cutouts else 0
        cutmix_prompts = [prompts.cutmix.replace("{subject}", name)] * count
        with lora.use_adapters(backbone, {adapter: 1.0}), lora.merged(backbone):
            latents = generate_clips(
                backbone,
                teacher_prompts + cutmix_prompts,
                config.seed,
                sampling,
                folder,
                "teacher",
                cache_key(*generated_by),
                callbacks,
                lora_model.tokens,
            )
        with torch.no_grad():
            texts = backbone.encode_prompt(teacher_prompts + cutmix_prompts, lora_model.tokens)
            single = (
                backbone.decode_video(latents[len(teacher_prompts) :].to(backbone.device)).cpu()
                if cutmix_prompts
                else None
            )
        teachers.append(Teacher(adapter, latents[: len(teacher_prompts)], texts[: len(teacher_prompts)]))
        if lora_model.cutouts:
            cutouts.append([resample_frames(cutout, config.frames) for cutout in lora_model.cutouts])
        elif single is not None:
            words = lora_model.tokens[0].superclass
            cutouts.append(_cutouts(single, name, words, segmenter or PlainBackground(), callbacks))
    if not config.lambda2:
        return teachers, None
    with lora.use_adapters(backbone, {}):
        clean = generate_clips(
            backbone, [prompts.clean], config.seed, sampling, folder, "background", base_fingerprint, callbacks
        )
    background = backbone.decode_video(clean.to(backbone.device))[0].cpu()
    return teachers, CutMixSources(cutouts, background, [lora_model.tokens[0].name for lora_model in subjects])


def add_cutout(lora_model: LoraModel, pixels: torch.Tensor, mask: torch.Tensor) -> LoraModel:
    """The subject's LoRA with one more clip of it, cut out by a mask of the user's: a fusion takes these for L_attn.

    Args:
        lora_model: a subject's LoRA.
        pixels: a clip in which it is seen, [3, F, H, W] in -1..1; one frame is a photo.
        mask: where, [F, H, W] in 0..1, or [1, H, W] for all frames; of the clip's size or another.

    Raises:
        ValueError: not a subject's LoRA; a mask of another length; one that is empty or covers all.
    """
    if lora_model.kind != "subject" or not lora_model.tokens:
        raise ValueError(f"LoRA: got a {lora_model.kind}'s, expected the LoRA of one subject, with its token")
    frames = pixels.shape[1]
    if len(mask) not in (1, frames):
        raise ValueError(
            f"mask of {lora_model.tokens[0].name}: got {len(mask)} frames for a clip of {frames}; give as many, or 1"
        )
    (found,) = GivenMasks(mask.expand(frames, -1, -1)[None]).segment(pixels, [lora_model.tokens[0].name])
    return replace(lora_model, cutouts=(*lora_model.cutouts, cut_out(pixels, found)))


def _cutouts(videos: torch.Tensor, name: str, words: str, segmenter: Segmenter, callbacks: Callbacks) -> list[Cutout]:
    """A subject cut out of its videos [V, 3, F, H, W]; those in which it cannot be found are passed over."""
    found, problem = [], ""
    for video in videos:
        callbacks.check()
        try:
            found.append(cut_out(video, segmenter.segment(video, [words])[0]))
        except ValueError as error:
            problem = str(error)
            callbacks.log(f"L_attn: passing over a video of {name} ({error})")
    if not found:
        raise ValueError(
            f"L_attn: {name} cannot be cut out of any of its {len(videos)} videos ({problem}); make more "
            "cutmix_videos, train the subject longer, or set lambda2 to 0"
        )
    return found


def sample_cutmix_pair(pieces: CutMixSources, overlap: float, generator: torch.Generator) -> tuple[CutMix, list[str]]:
    """Two different subjects on the clean background, and their tokens."""
    chosen = torch.randperm(len(pieces.cutouts), generator=generator)[:2].tolist()
    cut = [pieces.cutouts[i][int(torch.randint(len(pieces.cutouts[i]), (), generator=generator))] for i in chosen]
    return cutmix(cut, pieces.background, overlap, generator), [pieces.names[i] for i in chosen]
