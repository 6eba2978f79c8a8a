"""The rich world's training distribution: everything as often as anything else of its kind.

Motions, backgrounds and the concept of each role are dealt like cards: the seeds are cut into runs as long
as the deck, and each run goes through a freshly shuffled deck once.  So among any such run every card comes
once, and no weight is needed anywhere.  Everything is a function of the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np

from .backgrounds import BACKGROUNDS
from .characters import Character
from .colours import COLOURS
from .motions import PAIR, SINGLE, STILL_PAIRS
from .scene import Scene
from .worlds import RICH, World

Card = TypeVar("Card")

JITTERED = 0.5  # share of scenes whose drawings' colours are varied a little
JITTER = 0.35
PAINTED = 0.15  # share of characters painted in one named colour
EMPTY = ""  # the motion of a scene without characters

# Pairs are three of five stills, ten of eighteen clips.
STILL_MOTIONS = (*("standing still",) * 2, *STILL_PAIRS)
CLIP_MOTIONS = (*(*SINGLE, *PAIR) * 2, EMPTY)


def dealt(deck: Sequence[Card], seed: int, salt: int) -> Card:
    """The ``seed``-th card of one shuffled copy of ``deck`` after another.

    Args:
        deck: the cards.
        seed: which card, 0 or more.
        salt: separates decks that are dealt side by side.
    """
    block, place = divmod(seed, len(deck))
    return deck[_shuffled(len(deck), block, salt)[place]]


@lru_cache(maxsize=256)
def _shuffled(count: int, block: int, salt: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.random.default_rng([block, salt, 17]).permutation(count))


def random_scene(seed: int, still: bool = False, world: World = RICH) -> Scene:
    """A scene of the training distribution.

    Args:
        seed: decides everything.
        still: only scenes whose caption one frame can show (no named movement).
        world: whose training drawings appear.
    """
    rng = np.random.default_rng([seed, 23, int(still)])
    salt = 100 if still else 200
    background = dealt(tuple(BACKGROUNDS), seed, salt)
    motion = dealt(STILL_MOTIONS if still else CLIP_MOTIONS, seed, salt + 1)
    if motion == EMPTY or (still and rng.random() < 0.02):
        return Scene((), EMPTY, background, seed)
    roles = 1 if motion in SINGLE else 2
    characters = tuple(_drawing(world, dealt(world.concepts, seed, salt + 2 + role), rng) for role in range(roles))
    colours = tuple(_colour(rng) for _ in range(roles))
    jitter = JITTER if rng.random() < JITTERED else 0.0
    return Scene(characters, motion, background, seed, jitter, colours if any(colours) else ())


def _drawing(world: World, concept: str, rng: np.random.Generator) -> Character:
    options = world.drawings(world.training_artists, (concept,))
    return options[int(rng.integers(len(options)))]


def _colour(rng: np.random.Generator) -> str | None:
    return str(rng.choice(list(COLOURS))) if rng.random() < PAINTED else None
