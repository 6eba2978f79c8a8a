"""The trajectories of tracked characters, and how far two of them agree.

Place in the frame does not count, size counts only as it changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .tracking import Track

FRAMES = 8  # trajectories of clips of other lengths are resampled to so many
SIZE_WEIGHT = 0.3  # shares of the frame's side that a change of size by e is worth


def trajectory(tracks: Sequence[Track]) -> np.ndarray:
    """What is compared: the path of one character, or of two in the caption's order.

    Returns:
        [V] float64, in shares of the frame's side; its Euclidean length is a root mean square over frames.
    """
    centres = [_in_time(t.centres) / t.masks.shape[-1] for t in tracks]
    if len(tracks) == 1:
        areas = _in_time(np.maximum(tracks[0].masks.sum((1, 2)), 1)[:, None].astype(float))
        growth = SIZE_WEIGHT * 0.5 * np.log(areas / areas.mean())  # side is the root of area
        parts = [centres[0] - centres[0].mean(0), growth]
    else:
        apart, middle = centres[1] - centres[0], (centres[0] + centres[1]) / 2
        parts = [np.broadcast_to(apart.mean(0), apart.shape), apart - apart.mean(0), middle - middle.mean(0)]
    return np.concatenate([p.ravel() for p in parts]) / FRAMES**0.5


def _in_time(values: np.ndarray) -> np.ndarray:
    """[F, V] of any number of frames to FRAMES frames."""
    if len(values) == FRAMES:
        return values.astype(np.float64)
    old, new = np.linspace(0, 1, len(values)), np.linspace(0, 1, FRAMES)
    return np.stack([np.interp(new, old, column) for column in values.T], axis=1)


@dataclass(frozen=True)
class Agreement:
    """How alike two characters are placed, and move, in two clips, -1..1; 1 is the same, in direction and in length.

    Attributes:
        placement: of the mean offset from one to the other: who is where, above, below or beside.
        movement: of how they change places besides; 0 if nobody moves.
    """

    placement: float
    movement: float


def agreement(tracks: Sequence[Track], reference: Sequence[Track]) -> Agreement:
    """How alike two characters are placed and move in two clips.

    Args:
        tracks: the two of one clip, in the order of their roles.
        reference: those of the other.  Its mirror image counts as the same motion.
    """
    return trajectory_agreement(trajectory(tracks), trajectory(reference))


def trajectory_agreement(observed: np.ndarray, target: np.ndarray) -> Agreement:
    """Of two trajectories [V] of two characters each; the other's mirror image counts where it is nearer in all."""
    mirrored = (target.reshape(-1, 2) * (-1.0, 1.0)).ravel()  # x, y of each part and frame
    both = (_agreement(observed, target), _agreement(observed, mirrored))
    return max(both, key=lambda result: result.placement + result.movement)


def _agreement(observed: np.ndarray, target: np.ndarray) -> Agreement:
    placed, moved = slice(None, 2 * FRAMES), slice(2 * FRAMES, None)  # see ``trajectory``
    return Agreement(_alike(observed[placed], target[placed]), _alike(observed[moved], target[moved]))


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """Twice the product by the sum of squares: a cosine to which lengths count too, 0.8 where one is half the other."""
    return float(2 * one @ other / max(one @ one + other @ other, 1e-9))
