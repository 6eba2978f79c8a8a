"""The rich world's trained motions: the small world's, and interactions in which each of two has its own role.

"under" and "running from" are "on top of" and "chasing" told by the other one, so only the order of
the nouns says who is who.  The held-out motions are the small world's (``emoji_world.world.small_motions``).
"""

from __future__ import annotations

import numpy as np

from .small_motions import HELD_OUT_PAIR, HELD_OUT_SINGLE, TRAINED_PAIR, TRAINED_SINGLE, Pair, Path, chasing, on_top_of


def under(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    above, below = on_top_of(rng, u)
    return below, above


def running_from(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    behind, ahead = chasing(rng, u)
    return ahead, behind


def _level(rng: np.random.Generator) -> tuple[int, float, float, float]:
    """A direction, the height of the ground and two sizes."""
    return (1 if rng.random() < 0.5 else -1), rng.uniform(0.5, 0.62), rng.uniform(0.36, 0.44), rng.uniform(0.36, 0.44)


def _path(u: np.ndarray, x: object, y: object, size: float, heading: str | None = None) -> Path:
    x, y, sizes, turn = (np.broadcast_to(np.asarray(v, dtype=float), u.shape) for v in (x, y, size, 0.0))
    return Path(x, y, sizes, turn, heading)


def bumping_into(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    """The first runs into the second, which stood still and is knocked away."""
    direction, y, first, second = _level(rng)
    hit, reach = 0.5, 0.42 * (first + second)
    before, after = np.minimum(u / hit, 1), np.maximum(u - hit, 0) / (1 - hit)
    x_second = 0.5 + direction * (0.08 + 0.2 * after)
    x_first = 0.5 + direction * (0.08 - reach - 0.16 * (1 - before))
    look = "right" if direction > 0 else "left"
    return _path(u, x_first, y, first, look), _path(u, x_second, y - 0.1 * np.sin(np.pi * after), second)


def landing_on(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    """The first falls from above onto the second, which stands still."""
    x = rng.uniform(0.36, 0.64)
    _, _, first, second = _level(rng)
    y = rng.uniform(0.74, 0.78)
    rest = y - 0.42 * (first + second)
    drop = rest - 0.19
    return _path(u, x, rest - drop * (1 - np.minimum(u / 0.8, 1) ** 2), first), _path(u, x, y, second)


def lifting(rng: np.random.Generator, u: np.ndarray) -> tuple[Path, Path]:
    """The first stands below and raises the second above itself."""
    x = rng.uniform(0.36, 0.64)
    _, _, first, second = _level(rng)
    y = rng.uniform(0.74, 0.78)
    low = y - 0.34 * (first + second)
    return _path(u, x, y, first), _path(u, x, low - (low - 0.19) * u, second)


SINGLE = dict(TRAINED_SINGLE)
PAIR: dict[str, Pair] = TRAINED_PAIR | {
    "under": under,
    "running from": running_from,
    "bumping into": bumping_into,
    "landing on": landing_on,
    "lifting": lifting,
}
STILL_PAIRS = ("next to", "on top of", "under")  # those that one frame shows
CONVERSE = {"under": "on top of", "running from": "chasing"}  # the same sight, told by the other one

if set(PAIR) & set(HELD_OUT_PAIR) or set(SINGLE) & set(HELD_OUT_SINGLE):
    raise AssertionError("a trained motion is held out")
