"""The two worlds: which drawings there are, by whom, and which are held out.

``SMALL`` is the world of ``emoji_base``: twelve concepts, an artist's first drawing of each.  ``RICH`` is the
world of ``emoji_wan``: all concepts and drawings of ``art``.  In both all drawings of one artist are held
out; the held-out concepts are split into a development half, on which settings may be chosen, and a
test half, on which results are reported.  A concept of both worlds is in the same half of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from .characters import CONCEPTS, DEVELOPMENT_CONCEPTS, HELD_OUT_ARTIST, TEST_CONCEPTS, TRAINING_ARTISTS, Character
from .motions import PAIR, SINGLE
from .small_motions import TRAINED_PAIR, TRAINED_SINGLE

MOST_DRAWINGS = 5  # of one concept by one artist


@dataclass(frozen=True)
class World:
    """A set of drawings, split into what is trained on and two halves that are held out."""

    name: str
    training_artists: tuple[str, ...]
    held_out_artist: str
    development_concepts: tuple[str, ...]
    test_concepts: tuple[str, ...]
    kinds: Mapping[str, str] = field(hash=False)
    """The general word for each concept, such as "animal"; in the order of the concepts."""
    single_motions: tuple[str, ...]
    """Those of one character that are trained on."""
    interactions: tuple[str, ...]
    """Those of two characters that are trained on."""
    all_drawings: bool
    """Else only an artist's first drawing of a concept."""
    frames: int
    """In a clip."""

    def __post_init__(self) -> None:
        held_out = [*self.development_concepts, *self.test_concepts]
        if sorted(held_out) != sorted(self.kinds):
            odd = sorted({c for c in held_out if held_out.count(c) > 1} | (set(held_out) ^ set(self.kinds)))
            raise ValueError(f"concepts: {', '.join(odd)} must be in exactly one of the halves, and in kinds")
        if self.held_out_artist in self.training_artists:
            raise ValueError(f"held_out_artist: got {self.held_out_artist!r}, which is in training_artists")

    @property
    def concepts(self) -> tuple[str, ...]:
        return tuple(self.kinds)

    def drawings(self, artists: tuple[str, ...], concepts: tuple[str, ...] | None = None) -> tuple[Character, ...]:
        """All drawings of ``concepts`` (all concepts) by ``artists``, in a fixed order."""
        return _drawings(artists, concepts or self.concepts, MOST_DRAWINGS if self.all_drawings else 1)

    def training_characters(self) -> tuple[Character, ...]:
        """The drawings that a base may be trained on."""
        return self.drawings(self.training_artists)

    def held_out_characters(self, split: str) -> tuple[Character, ...]:
        """The held-out drawings of one half.

        Args:
            half: ``"development"`` or ``"test"``.
        """
        if split not in ("development", "test"):
            raise ValueError(f"half: got {split!r}, allowed: 'development', 'test'")
        concepts = self.development_concepts if split == "development" else self.test_concepts
        return self.drawings((self.held_out_artist,), concepts)


@cache
def _drawings(artists: tuple[str, ...], concepts: tuple[str, ...], most: int) -> tuple[Character, ...]:
    numbered = (Character(a, c, n) for c in concepts for a in artists for n in range(1, most + 1))
    return tuple(character for character in numbered if character.path.is_file())


def part_of(world: World, concepts: Sequence[str] | None = None, first_drawings: bool = False) -> World:
    """A world with fewer concepts or drawings, for a base that is to know less and know it better.

    Args:
        world: the whole.
        concepts: those to keep; their order decides which scene a seed gives.  None keeps all.
        first_drawings: keep only an artist's first drawing of each concept.
    """
    unknown = sorted(set(concepts or ()) - set(world.concepts))
    if unknown:
        raise ValueError(f"concepts: got {', '.join(unknown)}, allowed: {', '.join(world.concepts)}")
    part = replace(world, all_drawings=world.all_drawings and not first_drawings)
    if not concepts:
        return part
    return replace(
        part,
        name=f"{world.name}, {len(set(concepts))} concepts",
        kinds={concept: world.kinds[concept] for concept in concepts},
        development_concepts=tuple(c for c in world.development_concepts if c in concepts),
        test_concepts=tuple(c for c in world.test_concepts if c in concepts),
    )


_ANIMALS = (
    "dog", "cat", "fox", "panda", "frog", "pig", "rabbit", "monkey", "penguin", "octopus", "chick",
    "tiger", "lion", "bear", "koala", "mouse", "cow", "horse", "sheep", "camel", "elephant", "turtle", "snake",
    "dragon", "whale", "fish", "crab", "snail", "butterfly", "bee", "ladybug", "caterpillar", "owl", "rooster",
    "duck", "bird", "squirrel",
)  # fmt: skip
_KINDS = {
    "animal": _ANIMALS,
    "toy": ("robot", "ghost", "snowman", "alien", "pumpkin"),
    "vehicle": ("car", "bus", "tractor", "train", "helicopter", "rocket"),
    "fruit": ("apple", "strawberry", "banana", "pineapple"),
    "plant": ("mushroom", "cactus"),
}

SMALL = World(
    name="small",
    training_artists=TRAINING_ARTISTS,
    held_out_artist=HELD_OUT_ARTIST,
    development_concepts=DEVELOPMENT_CONCEPTS,
    test_concepts=TEST_CONCEPTS,
    kinds={concept: "robot" if concept == "robot" else "animal" for concept in CONCEPTS},
    single_motions=tuple(TRAINED_SINGLE),
    interactions=tuple(TRAINED_PAIR),
    all_drawings=False,
    frames=8,
)
RICH = World(
    name="rich",
    training_artists=TRAINING_ARTISTS,
    held_out_artist=HELD_OUT_ARTIST,
    development_concepts=(
        *DEVELOPMENT_CONCEPTS,
        "tiger", "bear", "mouse", "horse", "camel", "turtle", "dragon", "fish", "snail", "bee", "caterpillar",
        "rooster", "bird", "ghost", "alien", "car", "tractor", "helicopter", "apple", "banana", "mushroom",
    ),
    test_concepts=(
        *TEST_CONCEPTS,
        "lion", "koala", "cow", "sheep", "elephant", "snake", "whale", "crab", "butterfly", "ladybug", "owl",
        "duck", "squirrel", "snowman", "pumpkin", "bus", "train", "rocket", "strawberry", "pineapple", "cactus",
    ),
    kinds={concept: kind for kind, concepts in _KINDS.items() for concept in concepts},
    single_motions=tuple(SINGLE),
    interactions=tuple(PAIR),
    all_drawings=True,
    frames=9,
)  # fmt: skip
