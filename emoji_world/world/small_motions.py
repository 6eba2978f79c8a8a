"""The named motions: where each character is in every frame.

A motion of one character is a function (rng, u) -> Path, an interaction is a function
(rng, u) -> (Path, Path) for the caption's first and second character; ``u`` holds the time
of every frame, from 0 to 1.  Distances and sizes are fractions of the frame's side, x to the
right and y down.

``TRAINED_*`` are in the data of the built-in base.  ``HELD_OUT_*`` are not, nor are their
words: they are what a motion LoRA has to learn.  They are split into a development and a
test half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Path:
    """One character's path: centre, size and turn in each frame, each of shape (F,)."""

    x: np.ndarray
    y: np.ndarray
    size: np.ndarray
    turn: np.ndarray  # degrees, anticlockwise
    heading: str | None = None  # "left" or "right": where a character that looks to a side looks


Single = Callable[[np.random.Generator, np.ndarray], Path]
Pair = Callable[[np.random.Generator, np.ndarray], tuple[Path, Path]]


def _path(u: np.ndarray, x: object, y: object, size: object, turn: object = 0.0, heading: str | None = None) -> Path:
    x, y, size, turn = (np.broadcast_to(np.asarray(v, dtype=float), u.shape) for v in (x, y, size, turn))
    return Path(x, y, size, turn, heading)


def _heading(dx: float) -> str:
    return "right" if dx > 0 else "left"


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _solo_size(rng: np.random.Generator) -> float:
    return rng.uniform(0.38, 0.54)


def _duo_size(rng: np.random.Generator) -> float:
    return rng.uniform(0.36, 0.44)


# --- one character, trained


def standing_still(rng: np.random.Generator, u: np.ndarray) -> Path:
    return _path(u, rng.uniform(0.35, 0.65), rng.uniform(0.42, 0.64), _solo_size(rng), rng.uniform(-8, 8))


def _walking(rng: np.random.Generator, u: np.ndarray, direction: int) -> Path:
    reach = rng.uniform(0.2, 0.26)
    bob = 0.02 * np.abs(np.sin(2 * np.pi * u))
    x = 0.5 + direction * reach * (2 * u - 1)
    return _path(u, x, rng.uniform(0.46, 0.64) - bob, _solo_size(rng), 0, _heading(direction))


def walking_left(rng: np.random.Generator, u: np.ndarray) -> Path:
    return _walking(rng, u, -1)


def walking_right(rng: np.random.Generator, u: np.ndarray) -> Path:
    return _walking(rng, u, 1)


def rising(rng: np.random.Generator, u: np.ndarray) -> Path:
    reach = rng.uniform(0.18, 0.24)
    return _path(u, rng.uniform(0.35, 0.65), 0.5 + reach * (1 - 2 * u), _solo_size(rng))


def falling(rng: np.random.Generator, u: np.ndarray) -> Path:
    reach = rng.uniform(0.18, 0.24)
    return _path(u, rng.uniform(0.35, 0.65), 0.5 + reach * (2 * u**1.5 - 1), _solo_size(rng))


def jumping(rng: np.random.Generator, u: np.ndarray) -> Path:
    height = rng.uniform(0.26, 0.34)
    return _path(u, rng.uniform(0.35, 0.65), 0.68 - height * np.sin(np.pi * u), _solo_size(rng))


def growing(rng: np.random.Generator, u: np.ndarray) -> Path:
    small, large = rng.uniform(0.22, 0.28), rng.uniform(0.56, 0.66)
    return _path(u, rng.uniform(0.42, 0.58), rng.uniform(0.45, 0.58), small + (large - small) * u)


def shrinking(rng: np.random.Generator, u: np.ndarray) -> Path:
    path = growing(rng, u)
    return replace(path, size=path.size[::-1])


# --- two characters, trained


def next_to(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    side, y, gap = _sign(rng), rng.uniform(0.48, 0.62), rng.uniform(0.21, 0.25)
    return (
        _path(u, 0.5 + side * gap, y + rng.uniform(-0.03, 0.03), _duo_size(rng)),
        _path(u, 0.5 - side * gap, y + rng.uniform(-0.03, 0.03), _duo_size(rng)),
    )


def on_top_of(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    x, y = rng.uniform(0.34, 0.66), rng.uniform(0.68, 0.74)
    above, below = _duo_size(rng), _duo_size(rng)
    return (
        _path(u, x + rng.uniform(-0.03, 0.03), y - 0.45 * (above + below), above),
        _path(u, x, y, below),
    )


def chasing(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    """The first runs behind the second and gains on it."""
    direction, y = _sign(rng), rng.uniform(0.5, 0.62)
    gap = 0.54 - 0.12 * u
    middle = 0.14 * (2 * u - 1)
    hop = 0.05 * np.abs(np.sin(2 * np.pi * u))
    return (
        _path(u, 0.5 + direction * (middle - gap / 2), y - hop, _duo_size(rng), 0, _heading(direction)),
        _path(u, 0.5 + direction * (middle + gap / 2), y - hop[::-1], _duo_size(rng), 0, _heading(direction)),
    )


def _facing_walk(rng: np.random.Generator, u: np.ndarray, gap: np.ndarray, inward: bool) -> tuple[Path, Path]:
    side, y = _sign(rng), rng.uniform(0.5, 0.62)
    look = -side if inward else side
    return (
        _path(u, 0.5 + side * gap, y, _duo_size(rng), 0, _heading(look)),
        _path(u, 0.5 - side * gap, y, _duo_size(rng), 0, _heading(-look)),
    )


def walking_towards(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    return _facing_walk(rng, u, 0.34 - 0.16 * u, inward=True)


def walking_away_from(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    return _facing_walk(rng, u, 0.17 + 0.17 * u, inward=False)


# --- held out


def zigzagging(rng: np.random.Generator, u: np.ndarray) -> Path:
    direction = _sign(rng)
    wave = np.abs((3 * u) % 2 - 1) * 2 - 1  # a triangle wave, one and a half periods
    return _path(u, 0.5 + direction * 0.24 * (2 * u - 1), 0.52 + 0.16 * wave, _solo_size(rng) * 0.9)


def looping(rng: np.random.Generator, u: np.ndarray) -> Path:
    angle = _sign(rng) * 2 * np.pi * u + rng.uniform(0, 2 * np.pi)
    return _path(u, 0.5 + 0.22 * np.cos(angle), 0.5 + 0.22 * np.sin(angle), _solo_size(rng) * 0.9)


def riding(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    """The first sits on the second, which trots across the frame."""
    direction = _sign(rng)
    below = _path(u, 0.5 + direction * 0.2 * (2 * u - 1), 0.72, _duo_size(rng), 0, _heading(direction))
    above = _duo_size(rng)
    bob = 0.05 * np.abs(np.sin(3 * np.pi * u))
    return _path(u, below.x, below.y - 0.42 * (above + below.size) - bob, above, 0, _heading(direction)), below


def dancing_with(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    """They hop by turns, side by side."""
    side, y = _sign(rng), rng.uniform(0.62, 0.68)
    first, second = np.abs(np.sin(2 * np.pi * u)) * (u <= 0.5), np.abs(np.sin(2 * np.pi * u)) * (u > 0.5)
    return (
        _path(u, 0.5 + side * 0.23, y - 0.26 * first, _duo_size(rng)),
        _path(u, 0.5 - side * 0.23, y - 0.26 * second, _duo_size(rng)),
    )


def jumping_over(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    """The first flies in an arc over the second, which stands still."""
    direction = _sign(rng)
    x = 0.5 + direction * 0.27 * (2 * u - 1)
    return (
        _path(u, x, 0.7 - 0.46 * np.sin(np.pi * u), _duo_size(rng) * 0.9, 0, _heading(direction)),
        _path(u, 0.5, 0.74, _duo_size(rng) * 0.9),
    )


def circling_around(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    """The first goes once around the second, which stands still."""
    angle = _sign(rng) * 2 * np.pi * u + rng.uniform(0, 2 * np.pi)
    size = 0.34
    return (
        _path(u, 0.5 + 0.31 * np.cos(angle), 0.5 + 0.31 * np.sin(angle), size),
        _path(u, 0.5, 0.5, size),
    )


TRAINED_SINGLE: dict[str, Single] = {
    "standing still": standing_still,
    "walking to the left": walking_left,
    "walking to the right": walking_right,
    "rising": rising,
    "falling": falling,
    "jumping": jumping,
    "growing": growing,
    "shrinking": shrinking,
}
TRAINED_PAIR: dict[str, Pair] = {
    "next to": next_to,
    "on top of": on_top_of,
    "chasing": chasing,
    "walking towards": walking_towards,
    "walking away from": walking_away_from,
}
HELD_OUT_SINGLE: dict[str, Single] = {"zigzagging": zigzagging, "looping": looping}
HELD_OUT_PAIR: dict[str, Pair] = {
    "riding": riding,
    "dancing with": dancing_with,
    "jumping over": jumping_over,
    "circling around": circling_around,
}
DEVELOPMENT_MOTIONS = ("zigzagging", "riding", "dancing with")
TEST_MOTIONS = ("looping", "jumping over", "circling around")

SINGLE = TRAINED_SINGLE | HELD_OUT_SINGLE
PAIR = TRAINED_PAIR | HELD_OUT_PAIR
