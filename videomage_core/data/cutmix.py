"""Two subjects on one clean background, CutMix style (Sec. 3.3; after Yun et al. 2019).

Each subject is cut out of its own video by the bounding box of its mask over all frames, which preserves its motion,
and pasted at a random position on the background.  Subjects may overlap; what the one in front covers is removed from
the mask of the one behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

_TRIES = 64
_SMALLEST, _LARGEST = 0.4, 0.7  # a pasted box's longer side, as a share of the frame's side


@dataclass(frozen=True)
class Cutout:
    """A subject cut out of a video.

    Attributes:
        pixels: [3, F, h, w] in -1..1.
        mask: [F, h, w] in 0..1.
    """

    pixels: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class CutMix:
    """Several subjects on one background.

    Attributes:
        pixels: [3, F, H, W] in -1..1.
        masks: visible part of each subject, [N, F, H, W] in 0..1, in the order given.
    """

    pixels: torch.Tensor
    masks: torch.Tensor


def cut_out(pixels: torch.Tensor, mask: torch.Tensor) -> Cutout:
    """Cut a subject out of a video [3, F, H, W] by the bounding box of its mask [F, H, W] over all frames.

    Raises:
        ValueError: the mask is faint everywhere.
    """
    seen = (mask > 0.5).any(0)  # [H,W]
    if not bool(seen.any()):
        raise ValueError("mask: it is nowhere above 0.5, so there is nothing to cut out")
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    return Cutout(pixels[:, :, box[0], box[1]], mask[:, box[0], box[1]])


def resample_frames(cutout: Cutout, frames: int) -> Cutout:
    """The cut-out resampled to ``frames`` evenly spaced frames; a single frame is repeated."""
    chosen = torch.linspace(0, cutout.pixels.shape[1] - 1, frames).round().long()
    return Cutout(cutout.pixels[:, chosen], cutout.mask[chosen])


def cutmix(subjects: Sequence[Cutout], background: torch.Tensor, overlap: float, generator: torch.Generator) -> CutMix:
    """Paste subjects on a background at random sizes and positions, in a random depth order.

    Args:
        subjects: N cut-outs with as many frames as the background.
        background: [3, F, H, W] in -1..1.
        overlap: the largest fraction of a subject's box that another may cover; if no draw satisfies it, the one with
            the least overlap is used.
        generator: of all randomness.
    """
    frames, height, width = background.shape[1:]
    for index, subject in enumerate(subjects):
        if subject.pixels.shape[1] != frames:
            raise ValueError(f"subject {index + 1}: got {subject.pixels.shape[1]} frames, the background has {frames}")
    boxes = _places([s.mask.shape[-2:] for s in subjects], height, width, overlap, generator)
    depth = torch.randperm(len(subjects), generator=generator).tolist()  # the last is in front
    pixels = background.clone()
    masks = torch.zeros(len(subjects), frames, height, width)
    for index in depth:
        top, left, h, w = boxes[index]
        small = _resized(subjects[index].pixels.transpose(0, 1), h, w).transpose(0, 1)  # [3,F,h,w]
        mask = _resized(subjects[index].mask[:, None], h, w)[:, 0].clamp(0, 1)  # [F,h,w]
        seen = masks[:, :, top : top + h, left : left + w]
        seen *= 1 - mask  # removed from the subjects behind
        seen[index] = mask
        region = pixels[:, :, top : top + h, left : left + w]
        region += mask * (small - region)
    return CutMix(pixels, masks)


def _resized(frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[F, C, h, w] -> [F, C, height, width]."""
    return F.interpolate(frames, size=(height, width), mode="bilinear", align_corners=False, antialias=True)


Box = tuple[int, int, int, int]  # top, left, height, width


def _places(
    sizes: Sequence[Sequence[int]], height: int, width: int, overlap: float, generator: torch.Generator
) -> list[Box]:
    best: list[Box] = []
    least = float("inf")
    for _ in range(_TRIES):
        boxes = [_box(size, height, width, generator) for size in sizes]
        covered = max((_covered(a, b) for a in boxes for b in boxes if a is not b), default=0.0)
        if covered < least:
            best, least = boxes, covered
        if covered <= overlap:
            break
    return best


def _box(size: Sequence[int], height: int, width: int, generator: torch.Generator) -> Box:
    """A random box for a cut-out of that size, with its aspect ratio."""
    share = _SMALLEST + (_LARGEST - _SMALLEST) * float(torch.rand((), generator=generator))
    scale = min(share * height / size[0], share * width / size[1])
    h, w = (max(2, round(side * scale)) for side in size)
    top = int(torch.randint(height - h + 1, (), generator=generator))
    left = int(torch.randint(width - w + 1, (), generator=generator))
    return top, left, h, w


def _covered(box: Box, other: Box) -> float:
    """The fraction of ``box`` inside ``other``."""
    inner = [
        min(box[i] + box[i + 2], other[i] + other[i + 2]) - max(box[i], other[i])
        for i in range(2)
    ]  # fmt: skip
    return max(0, inner[0]) * max(0, inner[1]) / (box[2] * box[3])
