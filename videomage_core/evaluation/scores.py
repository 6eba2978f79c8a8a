"""What can score a video on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from .colour_metrics import ColourMetrics
from .learned_metrics import LearnedMetrics
from .mobilenet import weights_path
from .mobilenet_metrics import MobileNetMetrics


class VideoMetrics(Protocol):
    """Scores a video by its prompt and its subjects' images."""

    def score(
        self, video: np.ndarray, prompt: str | None, references: Mapping[str, Sequence[np.ndarray]]
    ) -> dict[str, float]:
        """By metric; one that does not apply is left out.

        Args:
            video: uint8 [F, H, W, 3].
            prompt: in plain words, or None.
            references: images of each subject, uint8 [h, w, 3] of any size.
        """


def scorers(clip: Path | None, dino: Path | None, plain_background: bool, device: str) -> list[VideoMetrics]:
    """CLIP and DINO where their folders are given; MobileNet where its weights are installed, else colours.

    Args:
        clip: folder of a CLIP model, or None.
        dino: folder of a DINO model, or None.
        plain_background: see ``MobileNetMetrics``.
        device: where CLIP and DINO run.

    Raises:
        FileNotFoundError, ValueError: see ``check_folder``.
    """
    metrics: list[VideoMetrics] = []
    if clip is not None or dino is not None:
        metrics.append(LearnedMetrics(clip, dino, device))
    try:
        weights_path()
        metrics.append(MobileNetMetrics(plain_background))
    except ImportError:  # colours need nothing
        metrics.append(ColourMetrics(plain_background))
    return metrics
