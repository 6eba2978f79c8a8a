"""A detector that stands in for GroundingDINO."""

from __future__ import annotations

import torch


class OnlyWords:
    """A detector that finds words where it is told: {frame: {word: box}}; a frame's brightness is its number."""

    def __init__(self, shown: dict[int, dict[str, list[float]]], words: tuple[str, ...]) -> None:
        self.shown, self.words, self.queries = shown, words, len(words)

    def tokens(self, text: str) -> list[int]:
        return [1, *(0 if part == "." else 5 + self.words.index(part) for part in text.split()), 2]

    def find(self, image: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        from videomage_core.segmentation.boxes import DEVIATION, MEAN

        frame = round(float((image[0, 0, 0] * DEVIATION[0] + MEAN[0]) * 2 - 1) * 100)
        here, ids = self.shown.get(frame, {}), self.tokens(caption)
        scores, boxes = torch.full((len(self.words), len(ids)), 0.05), torch.rand(len(self.words), 4) * 0.1
        for q, word in enumerate(self.words):
            if word in here and 5 + q in ids:
                scores[q, ids.index(5 + q)] = 0.9
                left, top, right, bottom = (v / 32 for v in here[word])
                boxes[q] = torch.tensor([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
        return scores, boxes
