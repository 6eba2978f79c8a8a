"""Who, what and where a clip shows: an independent judge of generated videos.

It took no part in any training.  A character is named by its nearest drawings: features of an
ImageNet network (``mobilenet``), of crops on grey (``tracking``), against true renders of all
training artists' drawings.  Settings were chosen on true renders alone, among them drawings by an
artist left out of the bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
import torch
from scipy.stats import binomtest

from videomage_core.evaluation.likeness import CROP, centred, embedding, mean_of_nearest
from videomage_core.evaluation.mobilenet import features
from videomage_core.evaluation.tracking import Track, crops, row_bands, track

from ..world.backgrounds import BACKGROUNDS
from ..world.characters import Character
from ..world.motions import CONVERSE
from ..world.scene import Scene, caption, draw
from ..world.worlds import SMALL, World
from .motion_judge import DIRECTED, MotionJudge

LOOKED_AT = 0.5  # share of a clip's frames that is looked at: those that show the character largest
PLACE_RENDERS = 24
BANK_SEED = 5_000_000  # far from the seeds of the training data
# Each drawing is in the bank on every background, at 10 to 30 pixels, both ways round.
BANK_MOTIONS = ("growing", "standing still", "walking to the left", "walking to the right", "shrinking", "jumping")


@dataclass(frozen=True)
class Expected:
    """What a caption asked for."""

    subjects: tuple[str, ...]
    motion: str
    background: str

    @classmethod
    def of(cls, scene: Scene) -> Expected:
        """What the scene shows; colours in words are not judged."""
        return cls(tuple(c.concept for c in scene.characters), scene.motion, scene.background)

    @property
    def caption(self) -> str:
        return caption(self.subjects, self.motion, self.background)


@dataclass(frozen=True)
class Verdict:
    """What one video shows, against what was asked.

    Attributes:
        expected: the caption's content.
        names: the characters seen, in the order of their roles in the asked motion.
        motion: the motion seen.
        background: the background seen.
    """

    expected: Expected
    names: tuple[str, ...]
    motion: str
    background: str

    @property
    def subjects_right(self) -> bool:
        """All asked characters are there, whoever does what."""
        return sorted(self.names) == sorted(self.expected.subjects)

    @property
    def roles_right(self) -> bool:
        """All are there, and in a directed interaction each has its own role."""
        return self.subjects_right and (self.names == self.expected.subjects or not self.directed)

    @property
    def directed(self) -> bool:
        return self.expected.motion in DIRECTED

    @property
    def motion_right(self) -> bool:
        return self.motion == CONVERSE.get(self.expected.motion, self.expected.motion)

    @property
    def background_right(self) -> bool:
        return self.background == self.expected.background


@dataclass(frozen=True)
class Rate:
    """A share of successes with its Wilson 95 % interval (Wilson 1927)."""

    right: int
    of: int

    @property
    def share(self) -> float:
        return self.right / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        wilson = binomtest(self.right, self.of).proportion_ci(0.95, "wilson")
        return float(wilson.low), float(wilson.high)


@dataclass(frozen=True)
class Scores:
    """Verdicts on many videos, in the given order."""

    verdicts: list[Verdict]

    def rate(self, aspect: str, count: int | None = None) -> Rate:
        """How many are right.

        Args:
            aspect: ``"subjects"``, ``"roles"``, ``"motion"`` or ``"background"``.
            count: only videos asked to show so many characters.
        """
        if aspect not in ("subjects", "roles", "motion", "background"):
            raise ValueError(f"aspect: got {aspect!r}, allowed: 'subjects', 'roles', 'motion', 'background'")
        verdicts = [v for v in self.verdicts if count is None or len(v.expected.subjects) == count]
        return Rate(sum(getattr(v, f"{aspect}_right") for v in verdicts), len(verdicts))


@dataclass(frozen=True)
class Identity:
    """How much crops look like one character.

    Attributes:
        similarity: mean cosine with its nearest pictures, -1..1, features centred on the bank's mean.
        rank: 1 if no other drawing of the same concept is more similar.
        of: how many drawings of the concept there are.
    """

    similarity: float
    rank: int
    of: int


class Judge:
    """Names characters, motions and backgrounds.

    Args:
        clips: on how many backgrounds each drawing is in the bank; fewer is faster.
        motion_renders: true renders of each motion.
        world: whose characters and motions it knows.
    """

    def __init__(self, clips: int = len(BACKGROUNDS), motion_renders: int = 16, world: World = SMALL) -> None:
        self.world = world
        self.motions = MotionJudge(motion_renders, world=world)
        held_out = [c for split in ("development", "test") for c in world.held_out_characters(split)]
        characters = [*world.training_characters(), *held_out]
        pictures = [_bank_pictures(character, index, clips) for index, character in enumerate(characters)]
        raw = features(torch.cat(pictures)).split([len(p) for p in pictures])
        trained = [f for f, c in zip(raw, characters, strict=True) if c.artist != world.held_out_artist]
        self.mean = torch.cat(trained).mean(0)  # [1280]
        self.bank = {c: centred(f, self.mean) for c, f in zip(characters, raw, strict=True)}
        self._by_concept = {
            concept: torch.cat([self.bank[c] for c in self._drawings(concept)]) for concept in world.concepts
        }
        self._places = _bank_places()

    def similarities(self, pictures: torch.Tensor) -> dict[str, float]:
        """Each concept's similarity to the crops [n, 3, H, W] of one character, n >= 1."""
        seen = embedding(pictures, self.mean)
        return {concept: mean_of_nearest(bank @ seen) for concept, bank in self._by_concept.items()}

    def name(self, pictures: torch.Tensor) -> str:
        """The concept that crops [n, 3, H, W] of one character show; ``"nothing"`` if there are none."""
        if not len(pictures):
            return "nothing"
        similarities = self.similarities(pictures)
        return max(similarities, key=similarities.__getitem__)

    def identity(self, pictures: torch.Tensor, character: Character) -> Identity:
        """How much crops [n, 3, H, W] look like ``character``, against all other drawings of its concept."""
        if not len(pictures):
            raise ValueError("pictures: got none, give at least one crop of the character")
        seen = embedding(pictures, self.mean)
        rivals = {c: mean_of_nearest(bank @ seen) for c, bank in self.bank.items() if c.concept == character.concept}
        own = rivals[character]
        return Identity(own, 1 + sum(value > own for value in rivals.values()), len(rivals))

    def names_unseen_artists(self) -> Rate:
        """How often single pictures are named right without their own artist's drawings in the bank."""
        right = of = 0
        for character in self.world.training_characters():
            others = {
                concept: torch.cat([self.bank[c] for c in self._drawings(concept) if c.artist != character.artist])
                for concept in self.world.concepts
            }
            for seen in self.bank[character]:
                nearness = {concept: mean_of_nearest(bank @ seen) for concept, bank in others.items()}
                right += max(nearness, key=nearness.__getitem__) == character.concept
                of += 1
        return Rate(right, of)

    def _drawings(self, concept: str) -> tuple[Character, ...]:
        return self.world.drawings(self.world.training_artists, (concept,))

    def background(self, video: np.ndarray) -> str:
        """The background that uint8 [F, H, W, 3] shows."""
        bands = row_bands(video)
        return min(self._places, key=lambda name: float(np.sort(_distances(self._places[name], bands))[:3].mean()))

    def judge(self, video: np.ndarray, expected: Expected) -> Verdict:
        """Look at one video, uint8 [F, H, W, 3]."""
        tracks = track(video, len(expected.subjects))
        names = tuple(self.name(character_crops(video, t)) for t in self.motions.in_order(tracks, expected.motion))
        return Verdict(expected, names, self.motions.name(tracks), self.background(video))

    def score(self, videos: np.ndarray, expected: Sequence[Expected]) -> Scores:
        """Look at videos uint8 [N, F, H, W, 3], one for each of ``expected``."""
        if len(videos) != len(expected):
            raise ValueError(f"expected: got {len(expected)} for {len(videos)} videos, give one for each")
        return Scores([self.judge(video, one) for video, one in zip(videos, expected, strict=True)])


@lru_cache(maxsize=1)
def standard_judge() -> Judge:
    """The judge that all reported figures come from; building it takes some seconds."""
    return Judge()


def character_crops(video: np.ndarray, tracked: Track) -> torch.Tensor:
    """The crops of one character that the judge looks at, [n, 3, CROP, CROP] in 0..1."""
    seen = np.flatnonzero(tracked.found)
    largest = seen[np.argsort(-tracked.sizes[seen], kind="stable")[: ceil(LOOKED_AT * len(seen))]]
    return crops(video, tracked, CROP, frames=np.sort(largest))


def _bank_pictures(character: Character, index: int, clips: int) -> torch.Tensor:
    pictures = []
    for turn, background in enumerate(list(BACKGROUNDS)[:clips]):
        motion = BANK_MOTIONS[(turn + index) % len(BANK_MOTIONS)]
        video = draw(Scene((character,), motion, background, BANK_SEED + 10 * index + turn), frames=4).frames
        pictures.append(crops(video, track(video, 1)[0], CROP)[1:3])
    return torch.cat(pictures)


def _distances(bank: np.ndarray, bands: np.ndarray) -> np.ndarray:
    return np.linalg.norm(bank - bands, axis=1)


def _bank_places() -> dict[str, np.ndarray]:
    def bands(name: str, seed: int) -> np.ndarray:
        return row_bands(draw(Scene((), "", name, BANK_SEED + seed), frames=1).frames)

    return {name: np.stack([bands(name, seed) for seed in range(PLACE_RENDERS)]) for name in BACKGROUNDS}
