"""A small collaborative sampling: its settings, and what its tests share."""

from __future__ import annotations

import torch

from videomage_core.config import CollaborativeConfig
from videomage_core.stages.collaborative_sampling import sample_collaboratively

# alpha is far above the paper's, so that a few steps with LoRAs of noise show what guidance does
CONFIG = CollaborativeConfig(
    frames=2, height=24, width=24, steps=3, guidance_scale=3.0, tau=2, alpha=1e6,
)  # fmt: skip
PROMPT = "a <toy> is passing a <pet>"
PLAIN = "a robot is passing a dog"
INVERTED = torch.randn(1, 6, 2, 6, 6, generator=torch.Generator().manual_seed(8))


def close(one: torch.Tensor, two: torch.Tensor, atol: float = 1e-3) -> bool:
    return torch.allclose(one, two, atol=atol, rtol=0)


def sample(base, subject, motion, config: CollaborativeConfig = CONFIG, prompt: str = PROMPT, **more):
    return sample_collaboratively(base, subject, motion, prompt, 5, config, **more)


def cosine(one: torch.Tensor, two: torch.Tensor) -> float:
    """The cosine of the angle between two gradients."""
    return float(torch.nn.functional.cosine_similarity(one.flatten(), two.flatten(), dim=0))


def refuse(*_):
    raise AssertionError("guidance was asked for")
