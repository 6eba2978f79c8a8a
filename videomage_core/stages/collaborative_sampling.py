"""Spatial-temporal collaborative sampling, SCS: Sec. 3.3, Eq. 9-11, Algorithm 1.

Two branches of one base, with the subject LoRA theta_hat_s and with the motion LoRA theta_m, denoise
one video x_t.  In each step x_t is copied into x_sub and x_mot, and both branches predict its noise (Eq. 9):

    eps_sub = eps_theta_hat_s(x_sub, c_tgt, t)     eps_mot = eps_theta_m(x_mot, c~_tgt, t)

In the first tau steps the copies are moved before that:

    L_s->m = || M_SCA,s - M_SCA,m ||^2     L_m->s = || M_TSA,s - M_TSA,m ||^2               (Eq. 10)
    x_mot := x_mot - alpha_t * grad L_s->m     x_sub := x_sub - alpha_t * grad L_m->s      (Eq. 11)

The subject branch says where each subject is (its spatial cross-attention maps M_SCA), the motion
branch how things move (its temporal self-attention maps M_TSA); the one that is not moved is a constant.  Then

    eps_t = beta_s * eps_sub + beta_m * eps_mot     (Algorithm 1, line 13)

and one step.  c_tgt names special tokens, c~_tgt their superclass words in the same places.  ``algorithm1.py`` has
these lines as functions; here they are put together.

Where the paper is silent (ours):

* Norms are means.  But then a gradient shrinks as latents grow, so alpha is multiplied by
  (number of latent values) / ``PAPER_VALUES``: it is the paper's at its size, and moves videos of another
  height and width about as far.  Over frames that holds for x_mot; x_sub moves 1 to 3 times less for
  twice the frames.  How far maps react depends on the base, so a base may want an alpha of its own:
  the log tells RMS(update) / RMS(x).
* alpha_t "decays by half by the end of denoising": linearly, from alpha to alpha / 2 over *all* steps;
  Attend-and-Excite's own code, which the paper follows, ends at 0.707: a setting.
* Maps are of the conditional half alone, as in Attend-and-Excite; both branches are under guidance.
* Where the step starts: Algorithm 1 moves the copies and says only "obtain x_t-1".  Ours: from the moved copies'
  mix, beta_s * x_sub + beta_m * x_mot, which is each branch's own step, mixed, as Attend-and-Excite's step starts from
  what it moved.  The other choice (``guided_step_from``) is the x_t that was not moved.  There the network takes much
  of
  the move for noise that is missing, so less is taken out of x_t, and the step goes against the move: on the
  built-in base the losses hardly fall, and at alpha 1e6 they rise (docs/guidance.md).
* Maps, losses and latents are float32.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ..callbacks import Callbacks
from ..config import CollaborativeConfig
from ..data.lora_file import LoraModel, require_base
from ..model import lora
from ..model.attention_maps import AttentionLayer, mean_map, select_layers
from ..model.backbone import Backbone
from ..model.encoded_text import EncodedText
from ..model.fingerprint import fingerprint
from ..model.latent_time import repeat_latent_frames
from ..model.text import SpecialToken
from ..sampling import initial_noise, preview
from .algorithm1 import (
    MOTION,
    PAPER_VALUES,
    SUBJECT,
    Branch,
    alpha_at,
    betas_at,
    branches_of,
    collaborative_step,
    guidance,
    guided_update,
    progress_at,
    rms,
)

VERSION = 1  # raised when the same inputs give other videos


@dataclass(frozen=True)
class CollaborativeResult:
    """A sampled video.

    Attributes:
        video: [3, F, H, W] in -1..1.
        words: the prompt's K special tokens, in order of occurrence.
        maps: M_SCA of each token in the subject branch, averaged over guided steps and layers,
            [K, F, H, W] in 0..1; None unless requested, or without guidance.
        subject_update_ratios: RMS(update) / RMS(x) of x_sub in each guided step.
        motion_update_ratios: the same of x_mot.
    """

    video: torch.Tensor
    words: tuple[str, ...]
    maps: torch.Tensor | None = None
    subject_update_ratios: list[float] = field(default_factory=list)
    motion_update_ratios: list[float] = field(default_factory=list)


def sample_collaboratively(
    backbone: Backbone,
    subject: LoraModel,
    motion: LoraModel,
    prompt: str,
    seed: int,
    config: CollaborativeConfig,
    inverted: torch.Tensor | None = None,
    with_maps: bool = False,
    callbacks: Callbacks | None = None,
) -> CollaborativeResult:
    """Sample a video of the subjects performing the motion (Eq. 9-11, Algorithm 1).

    Args:
        backbone: the base; left as it was found, bit for bit.
        subject: one subject, or a fusion of several.
        motion: the motion.
        prompt: c_tgt, which names every token of ``subject``: "A <toy> is riding a <dog>".
        seed: of the initial noise.
        config: all settings.
        inverted: the motion clip's inverted noise [1, C, F, h, w] (``invert_clip``); None: Gaussian noise.
        with_maps: also return the attention maps.
        callbacks: progress, previews and cancel.

    Raises:
        ValueError: LoRAs of the wrong kind or of another base, a prompt that lacks a token, unknown layers.
        Cancelled: stopped by the host.
    """
    callbacks = callbacks or Callbacks()
    check_pair(subject, motion)
    _require_first_step(backbone, config)
    tokens = list(subject.tokens)
    require_named(prompt, tokens)
    words = tuple(span.word for span in backbone.token_spans(prompt, tokens))
    cross = select_layers(backbone.attention_layers("cross"), config.cross_attention_layers)
    temporal = select_layers(backbone.attention_layers("temporal"), config.temporal_attention_layers)
    with lora.restore_adapters(backbone), torch.no_grad():
        base_fingerprint = fingerprint(backbone.network)
        for lora_model in (subject, motion):
            require_base(lora_model, backbone.name, base_fingerprint)
        lora.load(backbone, SUBJECT, subject.weights)
        lora.load(backbone, MOTION, motion.weights)
        branches = branches_of(backbone, prompt, tokens, config)
        x = initial_noise(backbone, seed, config, inverted).to(backbone.device)
        negative = backbone.encode_prompt([config.negative_prompt])
        with lora.merged(backbone):
            latents, overlay_maps, moved = _denoise(
                backbone, x, branches, negative, cross, temporal, config, with_maps, callbacks
            )
        video = backbone.decode_video(latents)[0].cpu()
    return CollaborativeResult(video, words, overlay_maps, *moved)


def _require_first_step(backbone: Backbone, config: CollaborativeConfig) -> None:
    """ValueError if a guided step cannot start from x_t: at pure noise, x_t holds nothing of the video."""
    if config.tau and config.guided_step_from == "original" and float(backbone.levels(config.steps)[0].a) == 0:
        raise ValueError(
            "guided_step_from: got 'original', which has no first step under flow matching; choose 'updated'"
        )


def check_pair(subject: LoraModel, motion: LoraModel) -> None:
    """ValueError unless the two are a subject or a fusion, and a motion."""
    if subject.kind == "motion" or not subject.tokens:
        raise ValueError(f"subject: got a {subject.kind} LoRA, expected a subject or fused LoRA with its tokens")
    if motion.kind != "motion":
        raise ValueError(f"motion: got a {motion.kind} LoRA, expected a motion LoRA")


def require_named(prompt: str, tokens: Sequence[SpecialToken]) -> None:
    """ValueError unless the prompt names every token."""
    missing = [token.name for token in tokens if token.name.lower() not in prompt.lower()]
    if missing:
        raise ValueError(
            f"prompt: got {prompt!r}, which does not name {', '.join(missing)}; name every subject of the LoRA, or "
            "sample with the LoRA of those you want"
        )


def _denoise(
    backbone: Backbone,
    x: torch.Tensor,
    branches: tuple[Branch, Branch],
    negative: EncodedText,
    cross: list[AttentionLayer],
    temporal: list[AttentionLayer],
    config: CollaborativeConfig,
    with_maps: bool,
    callbacks: Callbacks,
) -> tuple[torch.Tensor, torch.Tensor | None, tuple[list[float], list[float]]]:
    """Algorithm 1: clean latents, the subjects' maps, and how far guidance moved x_sub and x_mot."""
    levels = backbone.levels(config.steps)
    seen: list[torch.Tensor] = []
    moved: tuple[list[float], list[float]] = ([], [])
    for index in range(config.steps):
        callbacks.check()
        level, betas = levels[index], betas_at(progress_at(index, config.steps), config)
        latents = (x, x)
        if index < config.tau and config.alpha > 0:
            alpha = alpha_at(index, config) * x.numel() / PAPER_VALUES
            maps, gradients = guidance(backbone, x, level, branches, cross, temporal)
            latents = (guided_update(x, gradients[0], alpha), guided_update(x, gradients[1], alpha))
            for sizes, gradient in zip(moved, gradients, strict=True):
                sizes.append(alpha * rms(gradient) / rms(x))
            if with_maps:
                maps_of_step = mean_map([m.detach() for m in maps.cross.values()], config.height, config.width)
                seen.append(repeat_latent_frames(maps_of_step, backbone.temporal_factor))
        x0, x = collaborative_step(backbone, x, (level, levels[index + 1]), branches, negative, latents, betas, config)
        preview(backbone, x0, index, config.steps, callbacks)
        callbacks.progress(index + 1, config.steps, "collaborative sampling")
    if moved[0]:
        callbacks.log(
            f"guidance moved x_sub by {statistics.mean(moved[0]):.2%} and x_mot by {statistics.mean(moved[1]):.2%} "
            f"(mean RMS(update) / RMS(x) of {len(moved[0])} steps)"
        )
    return x, torch.stack(seen).mean(0) if seen else None, moved
