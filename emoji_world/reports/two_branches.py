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
from videomage_core.model.attention_maps import AttentionMaps, select_layers
from videomage_core.model.backbone import Backbone, NoiseLevel
from videomage_core.model.text import TokenSpan
from videomage_core.sampling import predict_with_guidance, step, to_x0_eps
from videomage_core.stages.collaborative_sampling import (
    MOTION,
    PAPER_VALUES,
    SUBJECT,
    alpha_at,
    map_distance,
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


@dataclass(frozen=True)
class Branch:
    """One of Algorithm 1's two."""

    adapter: str
    strength: float
    share: float
    text: torch.Tensor  # [1, T, D]
    spans: list[TokenSpan]


class TwoBranches:
    """Both branches of one video, by themselves: what the sampler does inside, a step at a time."""

    def __init__(
        self, backbone: Backbone, subject: LoraModel, motion: LoraModel, prompt: str, config: CollaborativeConfig
    ) -> None:
        self.backbone, self.config, self.loras = backbone, config, {SUBJECT: subject.weights, MOTION: motion.weights}
        tokens = list(subject.tokens)

        def branch(adapter: str, strength: float, share: float, plain: bool) -> Branch:
            text = backbone.encode_prompt([prompt], tokens, as_superclass=plain)
            return Branch(adapter, strength, share, text, backbone.token_spans(prompt, tokens, as_superclass=plain))

        self.branches = (
            branch(SUBJECT, config.subject_strength, config.beta_subject, plain=False),
            branch(MOTION, config.motion_strength, config.beta_motion, plain=True),
        )
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
        """L_m->s, with a gradient to the first of x_sub and x_mot, and L_s->m, with one to the second."""
        seen: list[AttentionMaps] = []
        for branch, at in zip(self.branches, copies, strict=True):
            with (
                lora.use_adapters(self.backbone, {branch.adapter: branch.strength}),
                self.backbone.record([*self.cross, *self.temporal], branch.spans, stop=True) as maps,
            ):
                self.backbone.record_forward(at, level, branch.text)
                seen.append(maps)
        subject, motion = seen
        return map_distance(subject.temporal, motion.temporal), map_distance(motion.cross, subject.cross)

    def gradients(self, x: torch.Tensor, level: NoiseLevel) -> list[torch.Tensor]:
        """Of L_m->s to x_sub and of L_s->m to x_mot (Eq. 10), at x [1, C, F, h, w]."""
        with torch.enable_grad():
            copies = [x.detach().requires_grad_() for _ in self.branches]
            losses = self.losses(copies, level)
            return [torch.autograd.grad(loss, at)[0] for loss, at in zip(losses, copies, strict=True)]

    def stepped(self, x: torch.Tensor, index: int, way: Variant, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """x after step ``index`` (Algorithm 1)."""
        far = alpha_at(index, replace(self.config, alpha=way.alpha)) * x.numel() / PAPER_VALUES
        copies = [x - far * g if moves else x for g, moves in zip(gradients, way.losses, strict=True)]
        level, eps, mix = self.levels[index], torch.zeros_like(x), torch.zeros_like(x)
        for branch, at in zip(self.branches, copies, strict=True):
            with lora.use_adapters(self.backbone, {branch.adapter: branch.strength}):
                output = predict_with_guidance(
                    self.backbone, at, level, branch.text, self.empty, self.config.guidance_scale
                )
            eps = eps + branch.share * to_x0_eps(output, at, level, self.backbone.prediction)[1]
            mix = mix + branch.share * at
        return step(eps, mix if way.guided_step_from == "updated" else x, level, self.levels[index + 1], "epsilon")

    def video(self, x: torch.Tensor, way: Variant) -> np.ndarray:
        """uint8 [F, H, W, 3], from initial noise."""
        for index in range(self.config.steps):
            guided = way.alpha > 0 and index < self.config.tau
            gradients = self.gradients(x, self.levels[index]) if guided else [torch.zeros_like(x)] * 2
            x = self.stepped(x, index, way, gradients)
        return to_uint8(self.backbone.decode_video(x)[0].cpu())

    def changes(self, x: torch.Tensor, ways: Sequence[Variant]) -> dict[Variant, np.ndarray]:
        """By way: log(loss after a guided step / after a plain one) of both losses [2], mean over the first steps."""
        found: dict[Variant, list[list[float]]] = {way: [] for way in ways}
        for index in range(self.config.tau):
            following, gradients = self.levels[index + 1], self.gradients(x, self.levels[index])
            plain = self.stepped(x, index, Variant(), gradients)
            without = self.losses([plain, plain], following)
            for way in ways:
                after = self.stepped(x, index, way, gradients)
                losses = self.losses([after, after], following)
                found[way].append([float((a / b).log()) for a, b in zip(losses, without, strict=True)])
            x = plain
        return {way: np.mean(values, axis=0) for way, values in found.items()}
