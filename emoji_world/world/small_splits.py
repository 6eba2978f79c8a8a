"""The two halves of what is held out: tune on the development half, report on the test half.

Characters, motions and seeds of one half never appear in the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from .characters import Character, held_out_characters
from .small_motions import DEVELOPMENT_MOTIONS, PAIR, SINGLE, TEST_MOTIONS


@dataclass(frozen=True)
class Split:
    """What one half may use.

    Attributes:
        characters: held-out drawings to customise.
        motions: held-out motions of one character.
        interactions: held-out motions of two.
        seeds: for scenes, initial noise and trainings.
    """

    characters: tuple[Character, ...]
    motions: tuple[str, ...]
    interactions: tuple[str, ...]
    seeds: range


def _split(name: str, motions: tuple[str, ...], seeds: range) -> Split:
    return Split(
        tuple(held_out_characters(name)),
        tuple(motion for motion in motions if motion in SINGLE),
        tuple(motion for motion in motions if motion in PAIR),
        seeds,
    )


DEVELOPMENT = _split("development", DEVELOPMENT_MOTIONS, range(1_000_000, 1_010_000))
TEST = _split("test", TEST_MOTIONS, range(2_000_000, 2_010_000))
