"""What every config is made of: declared fields with a help and a range, checked when a config is built."""

from __future__ import annotations

import dataclasses
import math
from typing import Any


def setting(
    default: Any,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with its help and the range it may take, both ends allowed, or its choices.

    The help says what the setting does, its unit, at which value it is off, and where the default is from.
    """
    limits = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=limits)


class Settings:
    """Base of all configs: checks ranges, then what a config has to say of its own."""

    def __post_init__(self) -> None:
        problems = [*self._out_of_range(), *self.contradictions()]
        if problems:
            raise ValueError("; ".join(problems))

    def contradictions(self) -> list[str]:
        """What is wrong with the settings taken together, a sentence each."""
        return []

    def _out_of_range(self) -> list[str]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return [problem for field in fields for problem in out_of_range(field, getattr(self, field.name))]


def out_of_range(field: Any, value: Any) -> list[str]:
    """What is wrong with the value of one field of a config by itself: no sentence, or one."""
    low, high, choices = (field.metadata[name] for name in ("minimum", "maximum", "choices"))
    if choices is not None and value not in choices:
        return [f"{field.name}: got {value!r}, allowed: {', '.join(map(repr, choices))}"]
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{field.name}: got {value}, must be a finite number"]
    if (low is None or value >= low) and (high is None or value <= high):
        return []
    limits = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
    return [f"{field.name}: got {value}, allowed is {' and '.join(limits)}"]


def branch_weight_problems(beta_subject: float, beta_motion: float) -> list[str]:
    """The weights of both branches' noises add up to 1 (Algorithm 1, line 13): no sentence, or one."""
    if abs(beta_subject + beta_motion - 1) <= 1e-6:
        return []
    return [f"beta_subject, beta_motion: got {beta_subject} and {beta_motion}, must add up to 1"]
