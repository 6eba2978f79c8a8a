"""Likeness of characters to images: the one way in which metrics, judge and demonstration compare them.

Features are those of a network that took no part in any training (``mobilenet``), of crops on grey (``tracking``),
centred on the mean of all images at hand.  Somebody's embedding is the direction of their images' mean feature;
the likeness of two is the cosine of their embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch.nn import functional

from .mobilenet import WIDTH, features
from .tracking import Track, crops, track

CROP = 48  # pixels, before the network's own resizing
NEIGHBOURS = 3  # images of a class whose mean similarity counts


def centred(raw: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Features [n, D] less the mean of all [D], of unit length again."""
    return functional.normalize(raw - mean, dim=-1)


def direction(of: torch.Tensor) -> torch.Tensor:
    """One embedding [D] of unit length for all features [n, D] of somebody."""
    return functional.normalize(of.mean(0), dim=0)


def embedding(images: torch.Tensor, mean: torch.Tensor | None = None) -> torch.Tensor:
    """The embedding of somebody's images.

    Args:
        images: crops [n, 3, H, W] in 0..1; n may be 0.
        mean: [D], what features are centred on; None leaves them as they are.

    Returns:
        [D] of unit length; zero where there is no image.
    """
    if not len(images):
        return torch.zeros(WIDTH)
    raw = features(images)
    return direction(raw if mean is None else centred(raw, mean))


def similarity(images: torch.Tensor, seen: torch.Tensor) -> float:
    """Cosine, -1..1, of an embedding [D] with that of somebody whose features are ``images`` [n, D]."""
    return float(direction(images) @ seen)


def mean_of_nearest(similarities: torch.Tensor) -> float:
    """The mean of the NEIGHBOURS largest of [n], n at least 1."""
    return float(similarities.topk(min(NEIGHBOURS, len(similarities))).values.mean())


def who_is_who(count: int, alike: Callable[[int, int], float]) -> tuple[int, ...]:
    """Which of ``count`` characters seen is each of as many subjects: the pairing that is most alike in all.

    Args:
        count: of subjects, and of characters; all pairings are tried, so at most a few.
        alike: the similarity of a subject and a character, by their numbers.
    """
    table = [[alike(subject, character) for character in range(count)] for subject in range(count)]
    return max(permutations(range(count)), key=lambda who: sum(table[s][c] for s, c in enumerate(who)))


@dataclass(frozen=True)
class Likeness:
    """How much one character of a video looks like one subject.

    Attributes:
        similarity: cosine with the subject's own images, -1..1.
        rank: 1 if no other character of its kind is nearer.
        of: how many of its kind there are, itself included.
    """

    similarity: float
    rank: int
    of: int


@dataclass(frozen=True)
class ReferenceFeatures:
    """Images of subjects, as features.

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
    """Features of the images of subjects.

    Args:
        own: images of each subject, uint8 [H, W, 3], on backgrounds the tracker knows.
        rivals: one image of each of its rivals.
    """
    raw = {name: torch.stack([_raw(image) for image in images]) for name, images in own.items()}
    others = {name: torch.stack([_raw(image) for image in images]) for name, images in rivals.items()}
    mean = torch.cat([*raw.values(), *others.values()]).mean(0)
    return ReferenceFeatures(
        {name: direction(centred(f, mean)) for name, f in raw.items()},
        {name: centred(f, mean) for name, f in others.items()},
        mean,
    )


def _raw(image: np.ndarray) -> torch.Tensor:
    video = image[None]
    own_crops = crops(video, track(video, 1)[0], CROP)
    if not len(own_crops):
        raise ValueError("image: no character stands out from its background; give one on a plain background")
    return features(own_crops)[0]


def likeness(video: np.ndarray, references: ReferenceFeatures) -> tuple[dict[str, Likeness], list[Track]]:
    """Find the subjects in a video, and measure each.

    Args:
        video: uint8 [F, H, W, 3] of as many characters as there are subjects, one or two.
        references: of the subjects.

    Returns:
        Each subject's likeness, and the tracks in the order of ``references.own``: who is who is decided
        by which pairing is more alike in all.
    """
    names = list(references.own)
    tracks = track(video, len(names))
    seen = [embedding(crops(video, one, CROP), references.mean) for one in tracks]
    order = who_is_who(len(names), lambda subject, character: float(seen[character] @ references.own[names[subject]]))
    result = {}
    for index, name in zip(order, names, strict=True):
        own = float(seen[index] @ references.own[name])
        rivals = references.rivals[name] @ seen[index]
        result[name] = Likeness(round(own, 4), 1 + int((rivals > own).sum()), 1 + len(rivals))
    return result, [tracks[i] for i in order]
