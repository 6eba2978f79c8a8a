"""One step of everything that a stage does, with gradients but without its optimiser, of any base at any settings.

``stage_steps`` has the steps by name, ``whole_stages`` says how many of each a whole stage takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

import torch

from videomage_core.config import CollaborativeConfig, FusionConfig, MotionConfig, SubjectConfig
from videomage_core.data.cutmix import CutMix
from videomage_core.model import lora
from videomage_core.model.attention_maps import select_layers
from videomage_core.model.backbone import Role
from videomage_core.model.text import SpecialToken
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.presets import Preset
from videomage_core.sampling import predict_with_guidance
from videomage_core.stages.algorithm1 import MOTION, SUBJECT, Branch, guidance
from videomage_core.stages.fusion import attention_loss, fusion_loss, pair_maps
from videomage_core.stages.fusion_data import Teacher
from videomage_core.stages.motion_lora import _Example, motion_loss
from videomage_core.stages.subject_lora import _subject_loss, _View, prediction_error

TRAINED = 4  # float32 values held of a trained weight: itself, its gradient, AdamW's two moments
PROMPT = "a <s0> and a <s1>"

Sized = SubjectConfig | MotionConfig | FusionConfig | CollaborativeConfig
Step = tuple[Callable[[], object], int]  # a job, and the bytes of the LoRAs that it works with


def stage_steps(
    base: UNet3DBackbone, preset: Preset, subjects: int = 2
) -> dict[str, Callable[[], AbstractContextManager[Step]]]:
    """Stage -> a context with its step, LoRAs on the base.

    Args:
        base: the base; it may be without values, on the meta device.
        preset: the settings.
        subjects: how many are fused.
    """
    auxiliary, video = preset.subject, preset.collaborative
    return {
        "train subject": lambda: subject_step(base, preset.subject),
        "train motion": lambda: motion_step(base, preset.motion),
        "fuse": lambda: fusion_step(base, preset.fusion, subjects),
        "SCS, a prediction": lambda: prediction(base, preset.collaborative),
        "SCS, a guidance": lambda: guidance_step(base, preset.collaborative),
        "an auxiliary clip, a prediction": lambda: plain_prediction(
            base, auxiliary.auxiliary_frames, auxiliary, auxiliary.auxiliary_guidance_scale
        ),
        "a subject's inversion": lambda: inversion_step(base, preset.motion),
        "a teacher video, a prediction": lambda: plain_prediction(
            base, preset.fusion.frames, preset.fusion, preset.fusion.teacher_guidance_scale, "spatial"
        ),
        "a clip's inversion, a prediction": lambda: plain_prediction(base, video.frames, video, 1.0),
        "plain sampling, a prediction": lambda: plain_prediction(base, video.frames, video, video.guidance_scale),
        "encoding, a frame": lambda: coding(base, video, to_pixels=False),
        "decoding, a frame": lambda: coding(base, video, to_pixels=True),
    }


def whole_stages(preset: Preset, subjects: int = 2, images: int = 4) -> dict[str, dict[str, int]]:
    """Stage -> step -> how many of them it takes, all that it makes for itself included.

    Args:
        preset: the settings.
        subjects: how many are fused, and how many perform the motion.
        images: of one subject.
    """
    one, motion, fusion, video = preset.subject, preset.motion, preset.fusion, preset.collaborative
    own, cut = subjects * fusion.teacher_videos, subjects * fusion.cutmix_videos
    return {
        "train subject": {
            "train subject": one.steps,
            "an auxiliary clip, a prediction": one.auxiliary_clips * one.auxiliary_steps,
            "encoding, a frame": images,
        },
        "train motion": {
            "train motion": motion.steps,
            "a subject's inversion": subjects * motion.textual_inversion_steps,
            "encoding, a frame": motion.frames + subjects,
        },
        "fuse": {
            "fuse": fusion.steps,
            "a teacher video, a prediction": (own + cut + 1) * fusion.teacher_steps,  # one is the background
            "decoding, a frame": (cut + 1) * fusion.frames,
        },
        "SCS": {
            "SCS, a prediction": 2 * video.steps,
            "SCS, a guidance": video.tau,
            "a clip's inversion, a prediction": video.ddim_inversion_steps,
            "encoding, a frame": video.frames,
            "decoding, a frame": video.frames,
        },
        "plain sampling": {"plain sampling, a prediction": video.steps, "decoding, a frame": video.frames},
    }


def of_size(preset: Preset, frames: int, height: int, width: int) -> Preset:
    """The preset with clips and videos of another size."""
    size = {"height": height, "width": width}
    return replace(
        preset,
        subject=replace(preset.subject, **size),
        motion=replace(preset.motion, frames=frames, **size),
        fusion=replace(preset.fusion, **size),
        collaborative=replace(preset.collaborative, frames=frames, **size),
    )


@contextmanager
def subject_step(base: UNet3DBackbone, config: SubjectConfig) -> Iterator[Step]:
    """L_sub of a batch of images and L_reg of a clip (Eq. 4)."""
    with lora.trainable_adapter(base, "subject", base.targets("spatial"), config) as parameters:
        (token,) = _tokens(base, 1)
        token.vectors.requires_grad_()
        _, _, height, width = base.latent_shape(1, config.height, config.width)
        mask = torch.ones(1, 1, 1, height, width, device=base.device)
        views = [_View(_latents(base, 1, config), mask, "a <s0>")] * config.batch_size
        clip = _latents(base, config.auxiliary_frames, config)
        with torch.no_grad():
            text = base.encode_prompt(["a dog"])

        def job() -> None:
            generator = torch.Generator().manual_seed(0)
            loss = _subject_loss(base, views, token, generator)
            loss = loss + config.lambda1 * prediction_error(base, clip, text, generator).mean()
            torch.autograd.grad(loss, [token.vectors, *parameters.values()], allow_unused=True)

        yield job, _bytes(list(parameters.values()), TRAINED)


@contextmanager
def motion_step(base: UNet3DBackbone, config: MotionConfig) -> Iterator[Step]:
    """L_mot (Eq. 5): the frozen base and the LoRA on noisy clips."""
    with lora.trainable_adapter(base, "motion", base.targets("temporal"), config) as parameters:
        examples = [_Example(_latents(base, config.frames, config), _text(base), _text(base))] * config.batch_size

        def job() -> None:
            terms = motion_loss(base, examples, config, torch.Generator().manual_seed(0))
            torch.autograd.grad(sum(terms.values()), list(parameters.values()), allow_unused=True)

        yield job, _bytes(list(parameters.values()), TRAINED)


@contextmanager
def fusion_step(base: UNet3DBackbone, config: FusionConfig, subjects: int) -> Iterator[Step]:
    """L_fusion of all subjects and L_attn of a pair (Eq. 6-8)."""
    rank = config.rank or 4 * subjects
    with lora.restore_adapters(base):
        teachers, held = [], 0
        for n in range(subjects):
            held += _bytes(lora.add(base, f"teacher_{n}", base.targets("spatial"), rank=4), 1)
            latents = _latents(base, config.frames, config)
            teachers.append(Teacher(f"teacher_{n}", latents, _text(base)))
        parameters = lora.add(base, "fused", base.targets("spatial"), rank=rank)
        tokens, names = _tokens(base, 2), ["<s0>", "<s1>"]
        frames = torch.zeros(3, config.frames, config.height, config.width)
        pair = CutMix(frames, torch.zeros(2, *frames.shape[1:]))
        layers = select_layers(base.attention_layers("cross"), config.cross_attention_layers)

        def job() -> None:
            generator = torch.Generator().manual_seed(0)
            torch.autograd.grad(fusion_loss(base, teachers, config.batch_size, generator), parameters)
            with pair_maps(base, pair, names, tokens, layers, generator) as maps:
                torch.autograd.grad(attention_loss(maps, pair.masks), parameters, allow_unused=True)

        with lora.use_adapters(base, {"fused": 1.0}):
            yield job, held + _bytes(parameters, TRAINED)


@contextmanager
def prediction(base: UNet3DBackbone, config: CollaborativeConfig) -> Iterator[Step]:
    """One branch's guided prediction; a step of SCS has two."""
    with both_loras(base) as (_, held), lora.use_adapters(base, {SUBJECT: 1.0}), lora.merged(base):
        x, text = _latents(base, config.frames, config), _text(base)
        level = base.random_level(1, torch.Generator().manual_seed(0))

        def job() -> None:
            with torch.no_grad():
                predict_with_guidance(base, x, level, text, text, config.guidance_scale)

        yield job, held


@contextmanager
def guidance_step(base: UNet3DBackbone, config: CollaborativeConfig) -> Iterator[Step]:
    """What the branches tell each other in one guided step (Eq. 10)."""
    with both_loras(base) as (branches, held), lora.merged(base):
        x, level = _latents(base, config.frames, config), base.random_level(1, torch.Generator().manual_seed(0))
        cross = select_layers(base.attention_layers("cross"), config.cross_attention_layers)
        temporal = select_layers(base.attention_layers("temporal"), config.temporal_attention_layers)
        yield lambda: guidance(base, x, level, branches, cross, temporal), held


@contextmanager
def plain_prediction(
    base: UNet3DBackbone, frames: int, size: Sized, scale: float, role: Role | None = None
) -> Iterator[Step]:
    """A prediction in plain sampling, of the base alone or with one LoRA; both halves of guidance unless scale is 1."""
    with lora.restore_adapters(base), ExitStack() as stack:
        held = 0
        if role is not None:
            held = _bytes(lora.add(base, "one", base.targets(role), rank=4), 1)
            stack.enter_context(lora.use_adapters(base, {"one": 1.0}))
            stack.enter_context(lora.merged(base))
        x, text = _latents(base, frames, size), _text(base)
        level = base.random_level(1, torch.Generator().manual_seed(0))

        def job() -> None:
            with torch.no_grad():
                predict_with_guidance(base, x, level, text, text, scale)

        yield job, held


@contextmanager
def inversion_step(base: UNet3DBackbone, config: MotionConfig) -> Iterator[Step]:
    """Textual inversion of one performer: the base is frozen, the gradient goes to the token's vectors."""
    (token,) = _tokens(base, 1)
    token.vectors.requires_grad_()
    x0 = _latents(base, 1, config).expand(config.batch_size, -1, -1, -1, -1)

    def job() -> None:
        text = base.encode_prompt(["A <s0>"], [token]).expand(config.batch_size, -1, -1)
        error = prediction_error(base, x0, text, torch.Generator().manual_seed(0))
        torch.autograd.grad(error.mean(), token.vectors)

    yield job, token.vectors.nbytes * TRAINED


@contextmanager
def coding(base: UNet3DBackbone, size: Sized, to_pixels: bool) -> Iterator[Step]:
    """One frame through the autoencoder, either way."""
    pixels = torch.zeros(1, 3, 1, size.height, size.width, device=base.device)
    latents = _latents(base, 1, size)
    yield lambda: base.decode_video(latents) if to_pixels else base.encode_video(pixels), 0


@contextmanager
def both_loras(base: UNet3DBackbone) -> Iterator[tuple[tuple[Branch, Branch], int]]:
    """A fused LoRA of two subjects and a motion's, as SCS has them, and the bytes they take."""
    with lora.restore_adapters(base):
        both = [
            *lora.add(base, SUBJECT, base.targets("spatial"), rank=8),
            *lora.add(base, MOTION, base.targets("temporal"), rank=4),
        ]
        for parameter in both:
            parameter.requires_grad_(False)
        spans = base.token_spans(PROMPT, _tokens(base, 2))
        subject, motion = (Branch(name, 1.0, _text(base), spans) for name in (SUBJECT, MOTION))
        yield (subject, motion), _bytes(both, 1)


def _tokens(base: UNet3DBackbone, count: int) -> list[SpecialToken]:
    width = base.unet.config.cross_attention_dim
    return [SpecialToken(f"<s{n}>", torch.zeros(1, width, device=base.device), "dog") for n in range(count)]


def _latents(base: UNet3DBackbone, frames: int, size: Sized) -> torch.Tensor:
    return torch.ones(1, *base.latent_shape(frames, size.height, size.width), device=base.device)


def _text(base: UNet3DBackbone) -> torch.Tensor:
    return torch.ones(1, 77, base.unet.config.cross_attention_dim, device=base.device)


def _bytes(parameters: list[torch.nn.Parameter], held: int) -> int:
    return sum(parameter.nbytes for parameter in parameters) * held
