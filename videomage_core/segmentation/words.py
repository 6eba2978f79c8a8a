"""Words in, boxes of each word out: the caption that GroundingDINO reads, and whose each box is.

The caption is "dog . stuffed animal ."; the detector says for each of Q boxes how well each of the
caption's T tokens fits it.  A box counts if its best token is over ``box_threshold``; it is the word's
whose tokens fit best, if their mean is over ``text_threshold`` (ours: the mean, so that a box with "animal"
alone is less of a "stuffed animal").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from .boxes import overlap

_SAME = 0.7  # boxes that overlap more are one thing found twice
_BREAKS = str.maketrans({".": " ", "?": " ", "\n": " "})  # what ends a phrase in the caption


@dataclass(frozen=True)
class Detection:
    """A word's boxes in one frame.

    Attributes:
        boxes: [N, 4], left, top, right, bottom in pixels, the best first; N may be 0.
        scores: [N] in 0..1.
        best: the highest score of any box for this word, also of one under the thresholds.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    best: float


def split_words(text: str) -> list[str]:
    """The words of a text, one a line or with commas: "dog, stuffed animal" -> ["dog", "stuffed animal"]."""
    parts = text.replace("\n", ",").split(",")
    return [" ".join(part.translate(_BREAKS).split()) for part in parts if part.translate(_BREAKS).strip()]


def caption_of(words: Sequence[str]) -> str:
    """What the detector reads.

    Raises:
        ValueError: no word, or one without a letter.
    """
    plain = [" ".join(word.lower().translate(_BREAKS).split()) for word in words]
    if not plain or not all(plain):
        raise ValueError(f"words: got {list(words)!r}, give at least one; each names what to find, e.g. 'dog'")
    return " . ".join(dict.fromkeys(plain)) + " ."


def spans(words: Sequence[str], tokens: Callable[[str], list[int]], longest: int = 256) -> list[tuple[int, int]]:
    """Where each word's tokens stand among the caption's, first and behind the last.

    Args:
        words: the words; one that comes twice stands in the caption once.
        tokens: a text's token ids, with the token at its start and the one at its end.
        longest: how many tokens the detector reads.

    Raises:
        ValueError: too many words.
    """
    caption = caption_of(words)
    ids = tokens(caption)
    if len(ids) > longest:
        raise ValueError(f"words: they are {len(ids)} tokens together, the detector reads {longest}; give fewer")
    stop = tokens(".")[1]
    ends = [i for i, token in enumerate(ids) if token == stop]
    begins = [1, *(end + 1 for end in ends[:-1])]
    places = dict(zip(caption[:-2].split(" . "), zip(begins, ends, strict=True), strict=True))
    return [places[caption_of([word])[:-2]] for word in words]


def boxes_of_words(
    words: Sequence[str],
    spans: Sequence[tuple[int, int]],
    scores: torch.Tensor,
    boxes: torch.Tensor,
    box_threshold: float,
    text_threshold: float,
    every: bool,
    held: Mapping[int, torch.Tensor] | None = None,
) -> list[Detection]:
    """Each word's boxes, none twice.

    Args:
        words: N words; of one that comes twice, each time gets a box of its own.
        spans: where their tokens stand, from ``spans``.
        scores: [Q, T] in 0..1, how well each token fits each box.
        boxes: [Q, 4], left, top, right, bottom in pixels.
        box_threshold: a box's best token must be over it.
        text_threshold: the mean of the word's tokens must be over it.
        every: all boxes of a word; else the best one.
        held: boxes [4] of what words, by their number, are followed by already: what lies there is not found
            again, and such a word gets more boxes only if it gets ``every``.
    """
    held = held or {}
    means = torch.stack([scores[:, a:b].mean(1) for a, b in spans])  # [N,Q]
    peaks = torch.stack([scores[:, a:b].amax(1) for a, b in spans])  # [N,Q]
    whose = means.amax(0)
    taken: dict[str, list[torch.Tensor]] = {}
    for n, box in held.items():
        taken.setdefault(words[n].lower(), []).append(box)
    detections = []
    for n, word in enumerate(words):
        one = [w.lower() for w in words].count(word.lower()) > 1 or not every
        fits = (peaks[n] > box_threshold) & (means[n] > text_threshold) & (means[n] >= whose)
        best_first = [q for q in peaks[n].argsort(descending=True, stable=True).tolist() if bool(fits[q])]
        most = (0 if n in held else 1) if one else len(best_first)
        chosen = _apart(best_first, boxes, taken.setdefault(word.lower(), []), most)
        detections.append(Detection(boxes[chosen].reshape(-1, 4), peaks[n][chosen], float(peaks[n].max())))
    return detections


def _apart(numbers: Sequence[int], boxes: torch.Tensor, taken: list[torch.Tensor], most: int) -> list[int]:
    """Of these boxes, in this order, at most ``most`` that lie on none of ``taken``, to which they are added."""
    chosen: list[int] = []
    for number in numbers:
        if len(chosen) == most:
            break
        if not taken or float(overlap(boxes[number], torch.stack(taken)).max()) <= _SAME:
            chosen.append(number)
            taken.append(boxes[number])
    return chosen
