"""Where is the subject?  The Segmenter contract, and the two that need no weights.

A mask is float32 in 0..1, 1 on the subject.  Whoever needs masks takes a ``Segmenter`` and cannot
tell a user's own masks from a model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from ..model.latent_time import latent_frames
from .frames import quantize

EMPTY, FULL = 0.002, 0.98  # shares of the image under and over which a mask says nothing


class Segmenter(Protocol):
    """Cuts subjects out of an image or a clip."""

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        """Masks of the subjects that the words name.

        Args:
            pixels: [3, F, H, W] in -1..1; an image is a clip of one frame.
            words: N subjects, e.g. ("dog", "stuffed animal").

        Returns:
            [N, F, H, W] in 0..1.

        Raises:
            ValueError: a subject cannot be found.
        """


def segmenter_key_parts(segmenter: object) -> list[object]:
    """What masks depend on, for ``cache_key``: the segmenter's kind, and its ``parts`` or fields."""
    values: list[object] = []
    if hasattr(segmenter, "key_parts"):
        values = list(segmenter.key_parts())
    elif is_dataclass(segmenter):
        values = [getattr(segmenter, field.name) for field in fields(segmenter)]
    bits = [quantize(value, 0) if isinstance(value, torch.Tensor) else value for value in values]
    return [type(segmenter).__qualname__, *bits]


@dataclass(frozen=True)
class GivenMasks:
    """Masks the user has, e.g. an image's alpha channel or those wired into a node.

    Attributes:
        masks: [N, F, H, W] in 0..1, in the order of the words; of any size.
    """

    masks: torch.Tensor

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        """See ``Segmenter``; resized to the pixels' size by area."""
        count, frames = self.masks.shape[:2]
        if count != len(words) or frames != pixels.shape[1]:
            raise ValueError(
                f"masks: got {count} masks of {frames} frames, needed are {len(words)} ({', '.join(words)}) "
                f"of {pixels.shape[1]} frames"
            )
        resized = resize_mask(self.masks.float(), pixels.shape[-2], pixels.shape[-1])
        for word, mask in zip(words, resized, strict=True):
            require_useful(mask, word)
        return resized


@dataclass(frozen=True)
class PlainBackground:
    """Finds what is not background where the background is one colour; a single subject only.

    The background's colour is the median of the frame's border, its noise the border's median
    deviation; a pixel is the subject's where it is further off than both thresholds.

    Attributes:
        contrast: smallest distance from the background's colour, of pixels in -1..1.
        border: width of the border as a share of the shorter side.
        softness: distance over which a mask rises from 0 to 1.
    """

    contrast: float = 0.12
    border: float = 0.04
    softness: float = 0.08

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        """See ``Segmenter``; refuses a background that is not plain."""
        if len(words) != 1:
            raise ValueError(
                f"words: got {len(words)} ({', '.join(words)}), a plain background is cut from one subject only; "
                "give masks"
            )
        masks = torch.stack([self._frame(frame, words[0]) for frame in pixels.unbind(1)])  # F of [3,H,W] -> [F,H,W]
        require_useful(masks, words[0])
        return masks[None]

    def _frame(self, frame: torch.Tensor, word: str) -> torch.Tensor:
        height, width = frame.shape[-2:]
        edge = max(1, round(self.border * min(height, width)))
        inner = torch.zeros(height, width, dtype=torch.bool, device=frame.device)
        inner[edge : height - edge, edge : width - edge] = True
        rim = frame[:, ~inner]  # [3,P]
        colour = rim.median(dim=1).values
        off = (rim - colour[:, None]).abs().amax(0)
        if float((off > self.contrast).float().mean()) > 0.35:
            raise ValueError(
                f"image of {word!r}: its border has many colours, so its background is not plain; "
                "give a mask (an alpha channel will do)"
            )
        threshold = max(self.contrast, 4 * float(off.median()))
        distance = (frame - colour[:, None, None]).abs().amax(0)
        return _without_holes(((distance - threshold) / self.softness + 0.5).clamp(0, 1))


def _without_holes(mask: torch.Tensor) -> torch.Tensor:
    """A mask [H, W] that is 1 wherever the background, spreading from the border, does not come."""
    solid = (mask >= 0.5).cpu().numpy()
    filled = ndimage.binary_fill_holes(solid, structure=np.ones((3, 3)))  # the background spreads diagonally too
    holes = torch.from_numpy(filled & ~solid).to(mask.device)
    return torch.where(holes, 1.0, mask)


def resize_mask(mask: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[..., H, W] to another size by area, so that the covered share stays; enlarging is bilinear."""
    flat = mask.reshape(-1, 1, *mask.shape[-2:])  # [...,H,W] -> [P,1,H,W]
    smaller = height <= mask.shape[-2] and width <= mask.shape[-1]
    options = {"mode": "area"} if smaller else {"mode": "bilinear", "align_corners": False}
    resized = F.interpolate(flat, size=(height, width), **options)
    return resized.reshape(*mask.shape[:-2], height, width)


def require_useful(mask: torch.Tensor, word: str) -> None:
    """Raise ValueError if a subject's mask is empty, or covers everything, in all of its frames."""
    share = mask.flatten(1).mean(1)  # [F,H,W] -> [F]
    if bool((share < EMPTY).all()):
        raise ValueError(
            f"mask of {word!r}: it is empty; draw the subject, check which mask is wired where, or, where words were "
            "to find it, try other words or lower thresholds"
        )
    if bool((share > FULL).all()):
        raise ValueError(
            f"mask of {word!r}: it covers the whole image; it may be inverted, or the image has no alpha channel"
        )


def latent_masks(masks: torch.Tensor, height: int, width: int, factor: int) -> torch.Tensor:
    """A video's masks on a grid of latent places: the mean of a latent frame's frames, and by area.

    Args:
        masks: [K, F, H, W] in 0..1.
        height: of the grid.
        width: of the grid.
        factor: the base's ``temporal_factor``.

    Returns:
        [K, f, height, width].
    """
    latent_frames(masks.shape[1], factor)
    if factor > 1:
        first, rest = masks[:, :1], masks[:, 1:]
        masks = torch.cat([first, rest.unflatten(1, (-1, factor)).mean(2)], 1)  # [K,1+n*factor,H,W] -> [K,1+n,H,W]
    return resize_mask(masks, height, width)
