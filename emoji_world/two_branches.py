"""The two branches of Algorithm 1, a step at a time: to compare ways of guiding them from the same latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from videomage_core.config import CollaborativeConfig
from videomage_core.data.lora_file import Concept
from videomage_core.data.media import to_uint8
from videomage_core.model import lora
from videomage_core.model.attention_maps import Maps, chosen_sites
from videomage_core.model.backbone import Backbone, Level
from videomage_core.model.text import TokenSpan
from videomage_core.sampling import predict_guided, split_output, step
from videomage_core.stages.collaborative_sampling import MOTION, PAPER_VALUES, SUBJECT, alpha_at, map_distance


@dataclass(frozen=True)
class Way:
    """How a video is guided.

    Attributes:
        step_from: "moved" or "unmoved", where a guided step starts; "none": no guidance.
        alpha: how far.
        losses: which of L_m->s and L_s->m take part.
    """

    step_from: str = "none"
    alpha: float = 0.0
    losses: tuple[bool, bool] = (True, True)

    def __str__(self) -> str:
        alone = {(True, False): ", L_m->s alone", (False, True): ", L_s->m alone"}.get(self.losses, "")
        return f"{self.step_from}{alone} | {self.alpha:g}"


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
        self, backbone: Backbone, subject: Concept, motion: Concept, prompt: str, config: CollaborativeConfig
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
        self.cross = chosen_sites(backbone.map_sites("cross"), config.cross_layers)
        self.temporal = chosen_sites(backbone.map_sites("temporal"), config.temporal_layers)

    @contextmanager
    def on_base(self) -> Iterator[None]:
        """Inside, both LoRAs are on the base."""
        with lora.leaving_no_trace(self.backbone), torch.no_grad():
            for name, weights in self.loras.items():
                lora.load(self.backbone, name, weights)
            yield

    def losses(self, copies: Sequence[torch.Tensor], level: Level) -> tuple[torch.Tensor, torch.Tensor]:
        """L_m->s, with a gradient to the first of x_sub and x_mot, and L_s->m, with one to the second."""
        seen: list[Maps] = []
        for branch, at in zip(self.branches, copies, strict=True):
            with (
                lora.active(self.backbone, {branch.adapter: branch.strength}),
                self.backbone.record([*self.cross, *self.temporal], branch.spans, stop=True) as maps,
            ):
                self.backbone.attend(at, level, branch.text)
                seen.append(maps)
        subject, motion = seen
        return map_distance(subject.temporal, motion.temporal), map_distance(motion.cross, subject.cross)

    def gradients(self, x: torch.Tensor, level: Level) -> list[torch.Tensor]:
        """Of L_m->s to x_sub (Eq. 10) and of L_s->m to x_mot (Eq. 9), at x [1, C, F, h, w]."""
        with torch.enable_grad():
            copies = [x.detach().requires_grad_() for _ in self.branches]
            losses = self.losses(copies, level)
            return [torch.autograd.grad(loss, at)[0] for loss, at in zip(losses, copies, strict=True)]

    def stepped(self, x: torch.Tensor, index: int, way: Way, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """x after step ``index`` (Algorithm 1, Eq. 11)."""
        far = alpha_at(index, replace(self.config, alpha=way.alpha)) * x.numel() / PAPER_VALUES
        copies = [x - far * g if moves else x for g, moves in zip(gradients, way.losses, strict=True)]
        level, eps, mix = self.levels[index], torch.zeros_like(x), torch.zeros_like(x)
        for branch, at in zip(self.branches, copies, strict=True):
            with lora.active(self.backbone, {branch.adapter: branch.strength}):
                output = predict_guided(self.backbone, at, level, branch.text, self.empty, self.config.guidance_scale)
            eps = eps + branch.share * split_output(output, at, level, self.backbone.prediction)[1]
            mix = mix + branch.share * at
        return step(eps, mix if way.step_from == "moved" else x, level, self.levels[index + 1], "epsilon")

    def video(self, x: torch.Tensor, way: Way) -> np.ndarray:
        """uint8 [F, H, W, 3], from start noise."""
        for index in range(self.config.steps):
            guided = way.alpha > 0 and index < self.config.tau
            gradients = self.gradients(x, self.levels[index]) if guided else [torch.zeros_like(x)] * 2
            x = self.stepped(x, index, way, gradients)
        return to_uint8(self.backbone.decode_video(x)[0].cpu())

    def changes(self, x: torch.Tensor, ways: Sequence[Way]) -> dict[Way, np.ndarray]:
        """By way: log(loss after a guided step / after a plain one) of both losses [2], mean over the first steps."""
        found: dict[Way, list[list[float]]] = {way: [] for way in ways}
        for index in range(self.config.tau):
            following, gradients = self.levels[index + 1], self.gradients(x, self.levels[index])
            plain = self.stepped(x, index, Way(), gradients)
            without = self.losses([plain, plain], following)
            for way in ways:
                after = self.stepped(x, index, way, gradients)
                losses = self.losses([after, after], following)
                found[way].append([float((a / b).log()) for a, b in zip(losses, without, strict=True)])
            x = plain
        return {way: np.mean(values, axis=0) for way, values in found.items()}
