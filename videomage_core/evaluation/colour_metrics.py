"""What can be said of a video without any network: whose colours it shows, and how much changes between frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .tracking import track

LEVELS = 6  # of each of red, green and blue

VERSION = 1  # raised when the same videos get other scores
MEANINGS = {
    "colours": "share of colours that frames, or characters cut out of them, have in common with the images",
    "steadiness": "1 less the mean change of a pixel between consecutive frames, 0 to 1",
}


class ColourMetrics:
    """Scores videos by histograms of colour (Swain and Ballard 1991); rough, but there on every machine.

    Args:
        plain_background: see ``MobileNetMetrics``.
    """

    def __init__(self, plain_background: bool = False) -> None:
        self.plain_background = plain_background

    def score(
        self, video: np.ndarray, prompt: str | None, references: Mapping[str, Sequence[np.ndarray]]
    ) -> dict[str, float]:
        """``colours`` where there are images, and ``steadiness``; arguments as ``VideoMetrics.score``."""
        result: dict[str, float] = {}
        subjects = [list(images) for images in references.values() if len(images)]
        if subjects:
            # All subjects together: which of two characters is which needs no telling apart.
            reference = np.mean([np.mean([self._histogram(p[None], 1) for p in s], axis=0) for s in subjects], axis=0)
            observed = self._histogram(video, min(3, len(subjects)))
            result["colours"] = float(np.minimum(reference, observed).sum())
        values = video.astype(np.float32) / 255
        result["steadiness"] = float(1 - np.abs(values[1:] - values[:-1]).mean()) if len(values) > 1 else 1.0
        return result

    def _histogram(self, video: np.ndarray, characters: int) -> np.ndarray:
        """Shares of LEVELS^3 colours in uint8 [F, H, W, 3]; all zero where nobody is found."""
        pixels = video.reshape(-1, 3)
        if self.plain_background:
            masks = np.any([found.masks for found in track(video, characters)], axis=0)
            pixels = video[masks]
        levels = (pixels.astype(np.int64) * LEVELS) // 256
        counts = np.bincount(levels @ np.array([LEVELS**2, LEVELS, 1]), minlength=LEVELS**3)
        return counts / max(1, counts.sum())
