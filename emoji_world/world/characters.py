"""Who lives in the emoji world: concepts, the artists who drew them, and who is held out.

Every character is one drawing of one concept by one artist, stored as
``art/<artist>/<concept>.png`` (96x96 RGBA); an artist's second drawing of a concept is
``<concept>-2.png`` and so on.  The artists' licences are in NOTICE.  This module is the small world
(``world.SMALL``): the first drawings of twelve concepts.  ``world.RICH`` has them all.

Held out of training are all drawings of one artist (``HELD_OUT_ARTIST``): they are the
subjects a user would customise.  They are split by concept into a development half, on
which settings may be chosen, and a test half, on which results are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from .facing import FACING

ART = Path(__file__).parents[1] / "art"

CONCEPTS = (
    "dog", "cat", "fox", "panda", "frog", "pig",
    "rabbit", "monkey", "robot", "penguin", "octopus", "chick",
)  # fmt: skip

TRAINING_ARTISTS = ("noto", "noto-v1", "twemoji", "emojione", "streamline", "fxemoji")
HELD_OUT_ARTIST = "fluent-flat"

DEVELOPMENT_CONCEPTS = ("dog", "panda", "frog", "monkey", "penguin", "chick")
TEST_CONCEPTS = ("cat", "fox", "pig", "rabbit", "robot", "octopus")


@dataclass(frozen=True, order=True)
class Character:
    """One drawing of one concept by one artist."""

    artist: str
    concept: str
    number: int = 1  # which of the artist's drawings of the concept

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return self.concept if self.number == 1 else f"{self.concept}-{self.number}"

    @property
    def path(self) -> Path:
        return ART / self.artist / f"{self.stem}.png"

    @property
    def facing(self) -> str | None:
        """``"left"``, ``"right"``, or None for a drawing that looks at the viewer."""
        return FACING.get((self.artist, self.stem))

    def sprite(self) -> np.ndarray:
        """The drawing as float32 RGBA in 0..1, shape (96, 96, 4), colour not premultiplied."""
        return _read(self.path)


@cache
def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA"), dtype=np.float32) / 255.0


def characters(artists: tuple[str, ...], concepts: tuple[str, ...] = CONCEPTS) -> list[Character]:
    """All drawings of ``concepts`` by ``artists`` that exist, in a fixed order."""
    drawings = [Character(a, c) for c in concepts for a in artists]
    return [character for character in drawings if character.path.is_file()]


def training_characters() -> list[Character]:
    """The drawings the built-in base is trained on."""
    return characters(TRAINING_ARTISTS)


def held_out_characters(split: str) -> list[Character]:
    """The held-out drawings of one split.

    Args:
        split: ``"development"`` or ``"test"``.
    """
    if split not in ("development", "test"):
        raise ValueError(f"half: got {split!r}, allowed: 'development', 'test'")
    concepts = DEVELOPMENT_CONCEPTS if split == "development" else TEST_CONCEPTS
    return characters((HELD_OUT_ARTIST,), concepts)


def with_article(noun: str) -> str:
    """``"dog"`` -> ``"a dog"``, ``"octopus"`` -> ``"an octopus"``."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
