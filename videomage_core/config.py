"""Every setting of the engine: frozen dataclasses with the paper's defaults.

A setting is declared once, with its default, its help and its range; the command line's flags
and a node's widgets are read from here.  A config refuses values out of range and
contradictions when it is built, all of them in one message, long before a model is loaded.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


def setting(default: Any, help: str, minimum: float | None = None, maximum: float | None = None) -> Any:
    """A dataclass field with its help and the range it may take, both ends allowed.

    The help says what the setting does, its unit, at which value it is off, and where the default is from.
    """
    return dataclasses.field(default=default, metadata={"help": help, "minimum": minimum, "maximum": maximum})


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
        problems = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value, low, high = getattr(self, field.name), field.metadata["minimum"], field.metadata["maximum"]
            inside = (low is None or value >= low) and (high is None or value <= high)
            if not inside:
                limits = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
                problems.append(f"{field.name}: got {value}, allowed is {' and '.join(limits)}")
        return problems


@dataclass(frozen=True)
class SamplingConfig(Settings):
    """Plain guided sampling."""

    frames: int = setting(24, "length of the video in frames (paper, Sec. 4.1)", 1, 1024)
    height: int = setting(320, "height in pixels (paper, Sec. 4.1)", 8, 4096)
    width: int = setting(576, "width in pixels (paper, Sec. 4.1)", 8, 4096)
    fps: float = setting(8.0, "frames per second of the written video (paper, Sec. 4.1)", 0.1, 240)
    steps: int = setting(50, "denoising steps; more is slower and finer (paper, Sec. 4.1)", 1, 1000)
    guidance_scale: float = setting(
        9.0, "how strongly the prompt leads; 1 is off and halves the time (paper, Sec. 4.1)", 0, 100
    )
    negative_prompt: str = setting("", "what guidance leads away from (ours: empty; the paper does not say)")


# The embedded base was trained on 8 frames of 48x48 pixels; its steps and guidance are ours.
EMOJI_SAMPLING = SamplingConfig(frames=8, height=48, width=48, steps=25, guidance_scale=5.0)
