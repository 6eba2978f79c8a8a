"""Which of the named motions a clip shows, by the trajectories of its tracked characters.

A clip's trajectories are compared with those of true renders, tracked alike; the motion whose renders are
nearest is its name.  Place in the frame does not count, size counts only as it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from videomage_core.evaluation.tracking import Track, match, track
from videomage_core.evaluation.trajectories import trajectory

from ..world.motions import CONVERSE
from ..world.scene import SIZE, Scene, draw
from ..world.worlds import SMALL, World

NEIGHBOURS = 3  # true renders of a motion whose mean distance counts
DIRECTED = (
    "on top of", "chasing", "riding", "dancing with", "jumping over", "circling around",
    "under", "running from", "bumping into", "landing on", "lifting",
)  # fmt: skip
BANK_SEED = 4_000_000  # far from the seeds of the training data


class MotionJudge:
    """Names motions.

    Args:
        renders: true renders of each motion in the bank; below about ten a motion that goes either
            way has too few of each.
        motions: the names to choose among: all that the world trains unless given, as
            {number of characters: names}.
        world: whose motions and characters. What two of its names tell alike ("under", "on top of") has
            one name here, that which ``CONVERSE`` leads to.
    """

    def __init__(
        self, renders: int = 16, motions: Mapping[int, Sequence[str]] | None = None, world: World = SMALL
    ) -> None:
        of_two = tuple(motion for motion in world.interactions if motion not in CONVERSE)
        self.motions = dict(motions or {1: world.single_motions, 2: of_two})
        self._bank = {
            (count, motion): np.stack([_true_trajectory(count, motion, seed, world) for seed in range(renders)])
            for count, names in self.motions.items()
            for motion in names
        }

    def distances(self, tracks: Sequence[Track]) -> dict[str, float]:
        """How far the trajectories of one or two characters are from each motion; the order of two is free."""
        orders = [list(tracks)] if len(tracks) == 1 else [list(tracks), list(tracks)[::-1]]
        observed = [trajectory(order) for order in orders]
        return {motion: min(self._distance(w, len(tracks), motion) for w in observed) for motion in self._names(tracks)}

    def name(self, tracks: Sequence[Track]) -> str:
        """The motion that one or two characters do."""
        distances = self.distances(tracks)
        return min(distances, key=distances.__getitem__)

    def in_order(self, tracks: Sequence[Track], motion: str) -> list[Track]:
        """Two tracks as the caption's first and second, if they do ``motion``.

        Where the two do the same thing ("next to") either order is right, and the given one returns.
        """
        if motion in CONVERSE:
            return self.in_order(tracks, CONVERSE[motion])[::-1]
        if motion not in self._names(tracks):
            raise ValueError(f"motion: got {motion!r}, allowed: {', '.join(map(repr, self._names(tracks)))}")
        given, swapped = list(tracks), list(tracks)[::-1]
        if len(given) < 2 or motion not in DIRECTED:
            return given
        nearer = self._distance(trajectory(given), 2, motion) <= self._distance(trajectory(swapped), 2, motion)
        return given if nearer else swapped

    def _names(self, tracks: Sequence[Track]) -> Sequence[str]:
        if len(tracks) not in self.motions:
            raise ValueError(f"tracks: got {len(tracks)}, allowed: {', '.join(map(str, self.motions))}")
        return self.motions[len(tracks)]

    def _distance(self, observed: np.ndarray, count: int, motion: str) -> float:
        lengths = np.linalg.norm(self._bank[count, motion] - observed, axis=1)
        return float(np.sort(lengths)[:NEIGHBOURS].mean())


def _true_trajectory(count: int, motion: str, seed: int, world: World) -> np.ndarray:
    rng = np.random.default_rng([seed, count, 5])
    characters = world.training_characters()
    chosen = tuple(characters[int(i)] for i in rng.choice(len(characters), count, replace=False))
    background = str(rng.choice(["grass", "beach", "night", "water", "plain"]))
    drawing = draw(Scene(chosen, motion, background, BANK_SEED + seed), frames=world.frames)
    truth = [np.stack([path.x, path.y], axis=1) * SIZE for path in drawing.paths]
    return trajectory(match(track(drawing.frames, count), truth))
