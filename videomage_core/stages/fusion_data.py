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


def pair_prompt(names: Sequence[str]) -> str:
    """ "A <a> and a <b>": the prompt of CutMix pairs and of samples."""
    return " and ".join([f"A {names[0]}", *(f"a {name}" for name in names[1:])])


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
    """Put each subject's LoRA on the base, and have it generate its videos."""
    segmenter = segmenter or PlainBackground()
    teachers, cutouts = [], []
    for n, subject in enumerate(subjects):
        adapter, name = f"teacher_{n}", subject.tokens[0].name
        lora.load(backbone, adapter, subject.weights)
        videos = [
            prompts.teacher[i % len(prompts.teacher)].replace("{subject}", name) for i in range(config.teacher_videos)
        ]
        count = config.cutmix_videos if config.lambda2 and not subject.cutouts else 0
        alone = [prompts.cutmix.replace("{subject}", name)] * count
        latents, texts = _generate(
            backbone, subject, adapter, videos + alone, config, folder, base_fingerprint, callbacks
        )
        teachers.append(Teacher(adapter, latents[: len(videos)], texts[: len(videos)]))
        if subject.cutouts:
            cutouts.append([resample_frames(cutout, config.frames) for cutout in subject.cutouts])
        elif alone:
            with torch.no_grad():
                single = backbone.decode_video(latents[len(videos) :].to(backbone.device)).cpu()
            cutouts.append(_cutouts(single, name, subject.tokens[0].superclass, segmenter, callbacks))
    if not config.lambda2:
        return teachers, None
    with lora.use_adapters(backbone, {}):
        clean = generate_clips(
            backbone, [prompts.clean], config.seed, _sampling(config), folder, "background", base_fingerprint, callbacks
        )
    background = backbone.decode_video(clean.to(backbone.device))[0].cpu()
    return teachers, CutMixSources(cutouts, background, [lora_model.tokens[0].name for lora_model in subjects])


def _generate(
    backbone: Backbone,
    subject: LoraModel,
    adapter: str,
    prompts: Sequence[str],
    config: FusionConfig,
    folder: Path,
    base_fingerprint: Fingerprint,
    callbacks: Callbacks,
) -> tuple[torch.Tensor, EncodedText]:
    """Latents [V, C, f, h, w] of a video for each prompt by a subject's own LoRA, and the encoded prompts."""
    factors = (factor for pair in subject.weights.layers.values() for factor in pair)
    generated_by = cache_key(base_fingerprint, subject.weights.scale, *subject.weights.layers, *factors)
    with lora.use_adapters(backbone, {adapter: 1.0}), lora.merged(backbone):
        latents = generate_clips(
            backbone, prompts, config.seed, _sampling(config), folder, "teacher", generated_by, callbacks,
            subject.tokens,
        )  # fmt: skip
    with torch.no_grad():
        return latents, backbone.encode_prompt(prompts, subject.tokens)


def _sampling(config: FusionConfig) -> SamplingConfig:
    return SamplingConfig(
        frames=config.frames,
        height=config.height,
        width=config.width,
        steps=config.teacher_steps,
        guidance_scale=config.teacher_guidance_scale,
    )


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
