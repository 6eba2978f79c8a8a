"""What the embedded base is asked for when it is measured: a fixed list of scenes, from a fixed seed.

Each prompt comes as a scene, so that the same thing can be drawn truly: that is the ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..world.backgrounds import BACKGROUNDS
from ..world.characters import CONCEPTS, TRAINING_ARTISTS, Character, characters
from ..world.scene import Scene
from ..world.small_motions import TRAINED_PAIR, TRAINED_SINGLE

SEED = 6_000_000  # far from the seeds of the training data and of the judge's bank
SECTIONS = ("singles", "pairs", "motions")
PER_CONCEPT = 2
PAIRS = 25
PER_MOTION = 3


@dataclass(frozen=True)
class CardPrompt:
    """One prompt of the card; the scene's caption is what the base is asked for."""

    section: str
    scene: Scene

    def rendered(self, turn: int) -> Scene:
        """The scene as drawn for the ``turn``-th seed: another path, artists drawn anew."""
        rng = np.random.default_rng([self.scene.seed, turn])
        cast = tuple(_drawn_by_anyone(c.concept, rng) for c in self.scene.characters)
        return Scene(cast, self.scene.motion, self.scene.background, self.scene.seed + 1000 * turn)


def card_prompts() -> list[CardPrompt]:
    """All prompts: singles with every concept, pairs, then every trained motion."""
    rng = np.random.default_rng(SEED)
    asked: list[tuple[str, tuple[str, ...], str]] = []
    motions = list(TRAINED_SINGLE)
    for index in range(PER_CONCEPT * len(CONCEPTS)):
        asked.append(("singles", (CONCEPTS[index % len(CONCEPTS)],), motions[(3 * index + index // 8) % len(motions)]))
    interactions = list(TRAINED_PAIR)
    for index in range(PAIRS):
        asked.append(("pairs", _two(rng), interactions[index % len(interactions)]))
    for motion in motions:
        asked += [("motions", (str(rng.choice(CONCEPTS)),), motion) for _ in range(PER_MOTION)]
    for motion in interactions:
        asked += [("motions", _two(rng), motion) for _ in range(PER_MOTION)]
    places = list(BACKGROUNDS)
    prompts = []
    for index, (section, concepts, motion) in enumerate(asked):
        cast = tuple(_drawn_by_anyone(concept, rng) for concept in concepts)
        background = places[(index + index // len(places)) % len(places)]
        prompts.append(CardPrompt(section, Scene(cast, motion, background, SEED + index)))
    return prompts


def _two(rng: np.random.Generator) -> tuple[str, str]:
    first, second = rng.choice(CONCEPTS, 2, replace=False)
    return str(first), str(second)


def _drawn_by_anyone(concept: str, rng: np.random.Generator) -> Character:
    options = characters(TRAINING_ARTISTS, (concept,))
    return options[int(rng.integers(len(options)))]
