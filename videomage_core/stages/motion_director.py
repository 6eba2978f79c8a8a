"""MotionDirector, the baseline (Zhao et al. 2023): a spatial LoRA learns the appearance, the temporal one the rest.

Two paths, each with a gradient of its own; eps and t are the same in both:

    spatial:   L_spatial = || eps_theta_s(x_t[f], c, t) - eps[f] ||^2           one random frame f, temporal LoRA off
    temporal:  L_mot + L_debiased, the spatial LoRA on, but a constant
               L_mot      = || eps_theta_s,t(x_t, c, t) - eps ||^2
               L_debiased = || phi(eps_theta_s,t(x_t, c, t)) - phi(eps) ||^2    phi against a random anchor frame

In a fifth of the steps the spatial LoRA is off and its path is left out.  Only the temporal LoRA is kept.  The
spatial LoRA is on self-attention and feed-forward layers (96 of ZeroScope's 192), the temporal one on attention and
feed-forward layers (170 of 204), neither on projections; A begins with a standard deviation of 1 / R, dropout is 0.1.
All this is as in the authors' code.  Ours: rank, learning rates and steps are those of every motion LoRA here, one
spatial LoRA serves all clips (theirs can have one for each), no frame is mirrored, both gradients are clipped
together, and both LoRAs take their steps at once (theirs: the spatial one first).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ..config import MotionConfig
from ..model import lora
from ..model.backbone import Backbone, LayerKind, Role, Target
from ..model.encoded_text import EncodedText
from ..sampling import add_noise, training_target
from ..training.loop import Backward

MOTION, APPEARANCE = "motion", "appearance"
DROPOUT = 0.1  # of what goes into its LoRAs
SKIPPED = 0.2  # of the steps, in which the spatial LoRA is off


def settled(config: MotionConfig) -> MotionConfig:
    """The same settings with "auto" decided, and MotionDirector's dropout with its layers unless another is set."""
    if config.target_modules == "auto":
        config = dataclasses.replace(
            config, target_modules="motion_director" if config.objective == "motion_director" else "all"
        )
    if config.target_modules == "motion_director":
        config = dataclasses.replace(config, dropout=config.dropout or DROPOUT)
    return config


def layers_of(backbone: Backbone, role: Role, config: MotionConfig) -> list[Target]:
    """The layers on which a motion's training puts its LoRA of a role; ``config`` is settled."""
    own: tuple[LayerKind, ...] = (
        ("projections", "cross_attention") if config.target_modules == "motion_director" else ()
    )
    return backbone.targets(role, config.target_modules == "attention", config.train_transformer_in, own)


@contextmanager
def appearance_lora(backbone: Backbone, config: MotionConfig) -> Iterator[dict[str, torch.nn.Parameter]]:
    """Inside, a new LoRA on the spatial layers stands ready beside the motion's, which acts; afterwards it is gone.

    Yields:
        Its parameters by names that are the same in every run.
    """
    config = settled(config)
    targets = layers_of(backbone, "spatial", config)
    with (
        lora.trainable_adapter(backbone, APPEARANCE, targets, config) as parameters,
        lora.use_adapters(backbone, {MOTION: 1.0}),
    ):
        yield parameters


def dual_path_loss(
    backbone: Backbone,
    x0: torch.Tensor,
    text: EncodedText,
    appearance: Sequence[torch.Tensor],
    motion: Sequence[torch.Tensor],
    generator: torch.Generator,
    backward: Backward,
) -> None:
    """The terms of both paths, of freshly noised clips: L_spatial (0 where it is left out), L_mot and L_debiased.

    Layers that are recomputed in the backward pass run with the adapters that are active then; so each path calls
    ``backward`` while its own are, for its own LoRA alone.

    Args:
        backbone: the base, with the adapters ``MOTION`` and ``APPEARANCE`` on it.
        x0: clean latents [B, C, F, h, w].
        text: their prompts, encoded.
        appearance: the spatial LoRA's parameters.
        motion: the temporal LoRA's.
        generator: of all randomness.
        backward: as the training loop hands it over.
    """
    level = backbone.random_level(len(x0), generator)
    eps = torch.randn(x0.shape, generator=generator).to(x0.device)
    x_t, target = add_noise(x0, eps, level), training_target(x0, eps, level, backbone.prediction)
    skipped = bool(torch.rand((), generator=generator) < SKIPPED)
    frame, anchor = torch.randint(x0.shape[2], (2,), generator=generator).tolist()
    one = slice(frame, frame + 1)

    skipped_term = {"L_spatial": torch.zeros((), device=x0.device)} if skipped else {}
    if not skipped:
        with lora.use_adapters(backbone, {APPEARANCE: 1.0}):
            output = backbone.predict(x_t[:, :, one], level, text)
            backward({"L_spatial": (output - target[:, :, one]).square().mean()}, appearance)
    with lora.use_adapters(backbone, {MOTION: 1.0} if skipped else {MOTION: 1.0, APPEARANCE: 1.0}):
        output = backbone.predict(x_t, level, text)
        difference = debiased(output, anchor) - debiased(target, anchor)
        temporal = {"L_mot": (output - target).square().mean(), "L_debiased": difference.square().mean()}
        backward({**skipped_term, **temporal}, motion)


def debiased(output: torch.Tensor, anchor: int, beta: float = 1.0) -> torch.Tensor:
    """phi of MotionDirector, Eq. 4: each frame of [B, C, F, h, w] against an anchor frame of the same clip."""
    return (beta**2 + 1) ** 0.5 * output - beta * output[:, :, anchor : anchor + 1]
