"""A base of each kind, for the tests of the contract that they share."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from videomage_core.model.backbone import Backbone
from videomage_core.model.text import SpecialToken

PROMPT, OTHER = "a <toy> is chasing a cat", "a dog on grass"


@dataclass(frozen=True)
class Carrier:
    """A base, and the smallest video that it makes."""

    base: Backbone
    frames: int
    side: int

    def noise(self, count: int = 1, frames: int | None = None) -> torch.Tensor:
        shape = self.base.latent_shape(frames or self.frames, self.side, self.side)
        return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))

    def token(self) -> SpecialToken:
        vectors = self.base.initial_vectors("robot", 1)
        return SpecialToken("<toy>", vectors + 0.3, "robot")

    def text(self, *prompts: str):
        with torch.no_grad():
            return self.base.encode_prompt(prompts or (PROMPT,), [self.token()])
