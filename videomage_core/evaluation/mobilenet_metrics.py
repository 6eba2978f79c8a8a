"""Likeness and consistency of any video by an ImageNet MobileNetV2, which needs no download: a rough stand-in.

Where characters stand on a plain background they are found, cut out and compared with their images one by
one; else whole frames are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from .likeness import CROP, embedding, who_is_who
from .tracked_metrics import temporal_consistency
from .tracking import crops, track

VERSION = 1  # raised when the same videos get other scores
MEANINGS = {
    "MobileNet-I": "similarity of frames, or of characters cut out of them, and the subjects' images, -1 to 1",
    "MobileNet T.": "similarity of consecutive frames, -1 to 1",
}


class MobileNetMetrics:
    """Scores videos; the network's weights must be installed (``mobilenet.weights_path``).

    Args:
        plain_background: subjects, up to three, stand on backgrounds of one colour along each row, in videos
            and in images: they are tracked and cut out first.
    """

    def __init__(self, plain_background: bool = False) -> None:
        self.plain_background = plain_background

    def score(
        self, video: np.ndarray, prompt: str | None, references: Mapping[str, Sequence[np.ndarray]]
    ) -> dict[str, float]:
        """``MobileNet-I`` where there are images, and ``MobileNet T.``; arguments as ``LearnedMetrics.score``."""
        result: dict[str, float] = {}
        subjects = [images for images in references.values() if len(images)]
        own = [embedding(self._crops(images)) for images in subjects]
        if own and self.plain_background and len(own) <= 3:
            seen = [embedding(crops(video, tracked, CROP)) for tracked in track(video, len(own))]
            order = who_is_who(len(own), lambda subject, character: float(own[subject] @ seen[character]))
            result["MobileNet-I"] = float(np.mean([own[n] @ seen[i] for n, i in enumerate(order)]))
        elif own:
            frames = embedding(_images(video))
            result["MobileNet-I"] = float(np.mean([float(subject @ frames) for subject in own]))
        result["MobileNet T."] = temporal_consistency(video)
        return result

    def _crops(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        if not self.plain_background:
            return torch.cat([_images(image[None]) for image in images])
        return torch.cat([crops(image[None], track(image[None], 1)[0], CROP) for image in images])


def _images(video: np.ndarray) -> torch.Tensor:
    """uint8 [F, H, W, 3] -> [F, 3, 128, 128] in 0..1, whatever their shape."""
    pixels = torch.from_numpy(np.ascontiguousarray(video)).permute(0, 3, 1, 2).float() / 255
    return functional.interpolate(pixels, (128, 128), mode="bicubic", antialias=True).clamp(0, 1)
