"""The two halves of what is held out: tune on the development half, report on the test half.

Characters, motions and seeds of one half never appear in the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from .cast import Character, held_out_characters
from .motions import DEVELOPMENT_MOTIONS, PAIR, SINGLE, TEST_MOTIONS


@dataclass(frozen=True)
class Half:
    """What one half may use.

    Attributes:
        characters: held-out drawings to customise.
        motions: held-out motions of one character.
        interactions: held-out motions of two.
        seeds: for scenes, start noise and trainings.
    """

    characters: tuple[Character, ...]
    motions: tuple[str, ...]
    interactions: tuple[str, ...]
    seeds: range


def _half(name: str, motions: tuple[str, ...], seeds: range) -> Half:
    return Half(
        tuple(held_out_characters(name)),
        tuple(motion for motion in motions if motion in SINGLE),
        tuple(motion for motion in motions if motion in PAIR),
        seeds,
    )


DEVELOPMENT = _half("development", DEVELOPMENT_MOTIONS, range(1_000_000, 1_010_000))
TEST = _half("test", TEST_MOTIONS, range(2_000_000, 2_010_000))
