"""Losses and times of a training, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class History:
    """Losses and times, one value per step.

    Attributes:
        losses: by term ("loss" is their sum), the mean over a step's forwards.
        seconds: of each step.
        resumed_at: the step that this run resumed from; 0: from scratch.
    """

    losses: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    resumed_at: int = 0

    def add(self, terms: Mapping[str, float], seconds: float) -> None:
        """Append one step: the value of each term of the loss, and its duration."""
        for name, value in {**terms, "loss": sum(terms.values())}.items():
            self.losses.setdefault(name, []).append(value)
        self.seconds.append(seconds)
