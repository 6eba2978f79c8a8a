"""Geometry: a frame fitted to what the detector wants, and its boxes back in the frame's pixels.

Boxes are [..., 4] in float32.  The detector's are centre x, centre y, width, height as shares of the
image it was given; a frame's are left, top, right, bottom in its own pixels.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

# Of ImageNet, with which both models were trained.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STRIDES = (8, 16, 32, 64)  # pixels from one place of GroundingDINO's feature maps to the next


@dataclass(frozen=True)
class Fitted:
    """How a frame became the detector's image: resized as a whole, then widened at the right and the bottom.

    Attributes:
        frame: height and width of the frame.
        resized: height and width of the frame inside the image.
        image: height and width of the image.
    """

    frame: tuple[int, int]
    resized: tuple[int, int]
    image: tuple[int, int]

    def to_frame(self, boxes: torch.Tensor) -> torch.Tensor:
        """The detector's boxes in pixels of the frame, cut off at its border."""
        centre, half = boxes[..., :2], boxes[..., 2:] / 2
        corners = torch.cat([centre - half, centre + half], dim=-1)  # cx,cy,w,h -> left,top,right,bottom
        frame = corners * self._scale(boxes)
        height, width = self.frame
        return frame.clamp(min=0).minimum(frame.new_tensor([width, height, width, height]))

    def from_frame(self, boxes: torch.Tensor) -> torch.Tensor:
        """Boxes in pixels of the frame as the detector gives them; the inverse of ``to_frame`` inside the frame."""
        corners = boxes / self._scale(boxes)
        least, most = corners[..., :2], corners[..., 2:]
        return torch.cat([(least + most) / 2, most - least], dim=-1)

    def _scale(self, like: torch.Tensor) -> torch.Tensor:
        """Pixels of the frame in the whole image's width, height, width, height."""
        x = self.image[1] * self.frame[1] / self.resized[1]
        y = self.image[0] * self.frame[0] / self.resized[0]
        return like.new_tensor([x, y, x, y])


def resize_image(frame: torch.Tensor, shorter: int, longer: int, queries: int) -> tuple[torch.Tensor, Fitted]:
    """A frame [3, H, W] in -1..1 as GroundingDINO wants it: normalised, [3, h, w].

    It begins with its best ``queries`` places: an image that has fewer is enlarged, and widened where it is a strip.

    Args:
        frame: the frame.
        shorter: wanted length of its shorter side, in pixels.
        longer: greatest length of its longer side, in pixels.
        queries: how many places the image must have at least.
    """
    height, width = frame.shape[-2:]
    least = _side_for(queries)
    fit = min(shorter / min(height, width), longer / max(height, width))
    needed = min(least / math.sqrt(height * width), 2 * least / max(height, width))
    scale = max(fit, needed)
    resized = (max(1, round(height * scale)), max(1, round(width * scale)))
    image = resized if places(*resized) >= queries else (max(resized[0], least), max(resized[1], least))
    small = normalised(resize(frame[None], *resized))[0]
    widened = F.pad(small, (0, image[1] - resized[1], 0, image[0] - resized[0]))
    return widened, Fitted((height, width), resized, image)


def places(height: int, width: int) -> int:
    """How many places GroundingDINO's feature maps of an image have together."""
    return sum(math.ceil(height / stride) * math.ceil(width / stride) for stride in _STRIDES)


def _side_for(queries: int) -> int:
    """The side of the smallest square with so many places."""
    return next(side for side in itertools.count(_STRIDES[0], _STRIDES[0]) if places(side, side) >= queries)


def resize(frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[F, 3, H, W] -> [F, 3, height, width], smoothed where it shrinks."""
    size = (height, width)
    return F.interpolate(frames.float(), size=size, mode="bilinear", align_corners=False, antialias=True)


def normalised(frames: torch.Tensor) -> torch.Tensor:
    """Frames [F, 3, H, W] in -1..1 with ImageNet's mean and deviation."""
    mean, deviation = (frames.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return ((frames + 1) / 2 - mean) / deviation


def overlap(box: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of one box [4] with others [N, 4], left, top, right, bottom -> [N]."""
    least, most = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    shared = (most - least).clamp(min=0).prod(-1)
    area = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(-1)
    return shared / (area - shared).clamp(min=1e-6)
