"""Does a video show *this* subject?  Its likeness to its own pictures, against others of its kind.

By features of a network that took no part in any training (``mobilenet``), of crops on grey
(``tracking``), centred on the mean of all pictures at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
import torch.nn.functional as F

from .mobilenet import features
from .tracking import Track, crops, track

CROP = 48  # pixels, before the network's own resizing


@dataclass(frozen=True)
class Likeness:
    """How much one character of a video looks like one subject.

    Attributes:
        similarity: cosine with the subject's own pictures, -1..1.
        rank: 1 if no other character of its kind is nearer.
        of: how many of its kind there are, itself included.
    """

    similarity: float
    rank: int
    of: int


@dataclass(frozen=True)
class ReferenceFeatures:
    """Pictures of subjects, as features.

    Attributes:
        own: each subject's, [D] of unit length.
        rivals: others of each subject's kind, [R, D] of unit length.
        mean: [D], what features are centred on.
    """

    own: Mapping[str, torch.Tensor]
    rivals: Mapping[str, torch.Tensor]
    mean: torch.Tensor


def reference_features(
    own: Mapping[str, Sequence[np.ndarray]], rivals: Mapping[str, Sequence[np.ndarray]]
) -> ReferenceFeatures:
    """Features of the pictures of subjects.

    Args:
        own: pictures of each subject, uint8 [H, W, 3], on backgrounds the tracker knows.
        rivals: one picture of each of its rivals.
    """
    raw = {name: torch.stack([_raw(picture) for picture in pictures]) for name, pictures in own.items()}
    others = {name: torch.stack([_raw(picture) for picture in pictures]) for name, pictures in rivals.items()}
    mean = torch.cat([*raw.values(), *others.values()]).mean(0)
    return ReferenceFeatures(
        {name: F.normalize(F.normalize(f - mean, dim=-1).mean(0), dim=0) for name, f in raw.items()},
        {name: F.normalize(f - mean, dim=-1) for name, f in others.items()},
        mean,
    )


def _raw(picture: np.ndarray) -> torch.Tensor:
    video = picture[None]
    own_crops = crops(video, track(video, 1)[0], CROP)
    if not len(own_crops):
        raise ValueError("picture: no character stands out from its background; give one on a plain background")
    return features(own_crops)[0]


def likeness(video: np.ndarray, looks: ReferenceFeatures) -> tuple[dict[str, Likeness], list[Track]]:
    """Find the subjects in a video, and measure each.

    Args:
        video: uint8 [F, H, W, 3] of as many characters as there are subjects, one or two.
        looks: of the subjects.

    Returns:
        Each subject's likeness, and the tracks in the order of ``looks.own``: who is who is decided
        by which pairing looks more alike in all.
    """
    names = list(looks.own)
    tracks = track(video, len(names))
    seen = [_seen(video, t, looks.mean) for t in tracks]
    order = max(
        permutations(range(len(names))),
        key=lambda who: sum(float(seen[i] @ looks.own[name]) for i, name in zip(who, names, strict=True)),
    )
    result = {}
    for index, name in zip(order, names, strict=True):
        similarity = float(seen[index] @ looks.own[name])
        rivals = looks.rivals[name] @ seen[index]
        result[name] = Likeness(round(similarity, 4), 1 + int((rivals > similarity).sum()), 1 + len(rivals))
    return result, [tracks[i] for i in order]


def _seen(video: np.ndarray, tracked: Track, mean: torch.Tensor) -> torch.Tensor:
    """The mean look of one tracked character, [D]; zero where it was never found."""
    pictures = crops(video, tracked, CROP)
    if not len(pictures):
        return torch.zeros_like(mean)
    return F.normalize(F.normalize(features(pictures) - mean, dim=-1).mean(0), dim=0)
