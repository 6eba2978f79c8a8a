"""What the built-in base is asked for when it is measured: a fixed list of scenes, from a fixed seed.

Each prompt comes as a scene, so that the same thing can be drawn truly: that is the ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..world.backgrounds import BACKGROUNDS
from ..world.characters import Character
from ..world.scene import Scene
from ..world.worlds import SMALL, World

SEED = 6_000_000  # far from the seeds of the training data and of the judge's bank
SECTIONS = ("singles", "pairs", "motions")
PER_CONCEPT = 2
PER_INTERACTION = 5
PER_MOTION = 3


@dataclass(frozen=True)
class CardPrompt:
    """One prompt of the card; the scene's caption is what the base is asked for."""

    section: str
    scene: Scene
    world: World = SMALL

    def rendered(self, turn: int) -> Scene:
        """The scene as drawn for the ``turn``-th seed: another path, artists drawn anew."""
        rng = np.random.default_rng([self.scene.seed, turn])
        characters = tuple(_drawn_by_anyone(c.concept, rng, self.world) for c in self.scene.characters)
        return Scene(characters, self.scene.motion, self.scene.background, self.scene.seed + 1000 * turn)


def card_prompts(world: World = SMALL) -> list[CardPrompt]:
    """All prompts: singles with every concept, pairs, then every trained motion."""
    rng = np.random.default_rng(SEED)
    requests: list[tuple[str, tuple[str, ...], str]] = []
    concepts, motions, interactions = world.concepts, world.single_motions, world.interactions
    for index in range(PER_CONCEPT * len(concepts)):
        requests.append(
            ("singles", (concepts[index % len(concepts)],), motions[(3 * index + index // 8) % len(motions)])
        )
    for index in range(PER_INTERACTION * len(interactions)):
        requests.append(("pairs", _two(rng, world), interactions[index % len(interactions)]))
    for motion in motions:
        requests += [("motions", (str(rng.choice(concepts)),), motion) for _ in range(PER_MOTION)]
    for motion in interactions:
        requests += [("motions", _two(rng, world), motion) for _ in range(PER_MOTION)]
    places = list(BACKGROUNDS)
    prompts = []
    for index, (section, subjects, motion) in enumerate(requests):
        characters = tuple(_drawn_by_anyone(concept, rng, world) for concept in subjects)
        background = places[(index + index // len(places)) % len(places)]
        prompts.append(CardPrompt(section, Scene(characters, motion, background, SEED + index), world))
    return prompts


def _two(rng: np.random.Generator, world: World) -> tuple[str, str]:
    first, second = rng.choice(world.concepts, 2, replace=False)
    return str(first), str(second)


def _drawn_by_anyone(concept: str, rng: np.random.Generator, world: World) -> Character:
    options = world.drawings(world.training_artists, (concept,))
    return options[int(rng.integers(len(options)))]
