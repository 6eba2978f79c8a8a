"""What is trained together, AdamW over it, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..config import TrainingConfig


@dataclass(frozen=True)
class ParameterGroup:
    """What is trained together.

    Attributes:
        name: e.g. "lora" or "tokens".
        parameters: by names that stay the same from run to run.
        learning_rate: peak of the schedule.
        weight_decay: AdamW's.
    """

    name: str
    parameters: Mapping[str, torch.Tensor]
    learning_rate: float
    weight_decay: float = 0.0


def make_optimizer(groups: Sequence[ParameterGroup], config: TrainingConfig) -> Any:
    """AdamW, or its 8-bit form, with one entry a group.

    Raises:
        ValueError: the 8-bit form is asked for and bitsandbytes is not installed.
    """
    entries = [
        {"params": list(g.parameters.values()), "lr": g.learning_rate, "weight_decay": g.weight_decay} for g in groups
    ]
    if config.optimizer == "adamw8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise ValueError(
                "optimizer: got 'adamw8bit', which needs bitsandbytes; pip install bitsandbytes, or choose 'adamw'"
            ) from error
        return AdamW8bit(entries)
    return torch.optim.AdamW(entries)


def lr_factor(step: int, config: TrainingConfig) -> float:
    """The learning rates' factor at a step, counted from 0: linear warm-up, then constant or a half cosine."""
    if step < config.lr_warmup_steps:
        return (step + 1) / config.lr_warmup_steps
    if config.lr_scheduler == "constant":
        return 1.0
    progress = (step - config.lr_warmup_steps) / max(1, config.steps - config.lr_warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))
