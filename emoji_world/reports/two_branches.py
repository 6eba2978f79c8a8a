"""The two branches of Algorithm 1, a step at a time: to compare ways of guiding them from the same latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from videomage_core.config import CollaborativeConfig
from videomage_core.data.lora_file import LoraModel
from videomage_core.data.media import to_uint8
from videomage_core.model import lora
from videomage_core.model.attention_maps import select_layers
from videomage_core.model.backbone import Backbone, NoiseLevel
from videomage_core.stages.algorithm1 import (
    MOTION,
    PAPER_VALUES,
    SUBJECT,
    alpha_at,
    attended,
    betas_at,
    branches_of,
    collaborative_step,
    guidance,
    guidance_losses,
    guided_update,
    progress_at,
)


@dataclass(frozen=True)
class Variant:
    """How a video is guided.

    Attributes:
        guided_step_from: "updated" or "original", where a guided step starts; "none": no guidance.
        alpha: how far.
        losses: which of L_m->s and L_s->m take part.
    """

    guided_step_from: str = "none"
    alpha: float = 0.0
    losses: tuple[bool, bool] = (True, True)

    def __str__(self) -> str:
        alone = {(True, False): ", L_m->s alone", (False, True): ", L_s->m alone"}.get(self.losses, "")
        return f"{self.guided_step_from}{alone} | {self.alpha:g}"


class TwoBranches:
    """Both branches of one video, by themselves: what the sampler does inside, a step at a time."""

    def __init__(
        self, backbone: Backbone, subject: LoraModel, motion: LoraModel, prompt: str, config: CollaborativeConfig
    ) -> None:
        self.backbone, self.config, self.loras = backbone, config, {SUBJECT: subject.weights, MOTION: motion.weights}
        self.branches = branches_of(backbone, prompt, list(subject.tokens), config)
        self.empty = backbone.encode_prompt([config.negative_prompt])
        self.levels = backbone.levels(config.steps)
        self.cross = select_layers(backbone.attention_layers("cross"), config.cross_attention_layers)
        self.temporal = select_layers(backbone.attention_layers("temporal"), config.temporal_attention_layers)

    @contextmanager
    def on_base(self) -> Iterator[None]:
        """Inside, both LoRAs are on the base."""
        with lora.restore_adapters(self.backbone), torch.no_grad():
            for name, weights in self.loras.items():
                lora.load(self.backbone, name, weights)
            yield

    def losses(self, copies: Sequence[torch.Tensor], level: NoiseLevel) -> tuple[torch.Tensor, torch.Tensor]:
        """L_m->s and L_s->m (Eq. 10) where x_sub and x_mot are these."""
        layers, seen = [*self.cross, *self.temporal], []
        for branch, x in zip(self.branches, copies, strict=True):
            with attended(self.backbone, x, level, branch, layers) as (_, maps):
                seen.append(maps)
        return guidance_losses(*seen)

    def gradients(self, x: torch.Tensor, level: NoiseLevel) -> tuple[torch.Tensor, torch.Tensor]:
        """Of L_m->s to x_sub and of L_s->m to x_mot (Eq. 10), at x [1, C, F, h, w]."""
        return guidance(self.backbone, x, level, self.branches, self.cross, self.temporal)[1]

    def stepped(
        self, x: torch.Tensor, index: int, variant: Variant, gradients: tuple[torch.Tensor, torch.Tensor] | None
    ) -> torch.Tensor:
        """x after step ``index`` of Algorithm 1."""
        config = replace(
            self.config, alpha=variant.alpha, guided_step_from=variant.guided_step_from if variant.alpha else "updated"
        )
        betas, latents = betas_at(progress_at(index, config.steps), config), (x, x)
        if gradients is not None and variant.alpha:
            alpha = alpha_at(index, config) * x.numel() / PAPER_VALUES
            x_sub, x_mot = (
                guided_update(x, gradient, alpha) if moves else x
                for gradient, moves in zip(gradients, variant.losses, strict=True)
            )
            latents = (x_sub, x_mot)
        levels = (self.levels[index], self.levels[index + 1])
        return collaborative_step(self.backbone, x, levels, self.branches, self.empty, latents, betas, config)[1]

    def video(self, x: torch.Tensor, variant: Variant) -> np.ndarray:
        """uint8 [F, H, W, 3], from initial noise."""
        for index in range(self.config.steps):
            guided = variant.alpha > 0 and index < self.config.tau
            gradients = self.gradients(x, self.levels[index]) if guided else None
            x = self.stepped(x, index, variant, gradients)
        return to_uint8(self.backbone.decode_video(x)[0].cpu())

    def changes(self, x: torch.Tensor, variants: Sequence[Variant]) -> dict[Variant, np.ndarray]:
        """By variant: log(loss after a guided step / after a plain one), both losses [2], mean over the first steps."""
        logs: dict[Variant, list[list[float]]] = {variant: [] for variant in variants}
        for index in range(self.config.tau):
            following, gradients = self.levels[index + 1], self.gradients(x, self.levels[index])
            plain = self.stepped(x, index, Variant(), gradients)
            without = self.losses([plain, plain], following)
            for variant in variants:
                after = self.stepped(x, index, variant, gradients)
                losses = self.losses([after, after], following)
                logs[variant].append([float((a / b).log()) for a, b in zip(losses, without, strict=True)])
            x = plain
        return {variant: np.mean(values, axis=0) for variant, values in logs.items()}
