"""Images of any size brought to a video's size: cut or padded, mirrored, cut again at random."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from ..config import LoraTrainingConfig, SamplingConfig, SubjectConfig
from .masks import resize_mask

_SEGMENTED = 800  # pixels


def needed_size(config: SamplingConfig | LoraTrainingConfig, segmented: bool = False) -> tuple[int, int]:
    """(H, W) that images and clips must cover for a config: what is larger is shrunk while it is read.

    Twice the config's size, so that the last resizing smooths, and a subject cut out of half a frame stays sharp; more
    where random cuts keep a smaller part.

    Args:
        config: of the training or sampling.
        segmented: a segmenter looks at them; GroundingDINO's own size is 800 pixels.
    """
    share = getattr(config, "min_crop_scale", 1.0)
    height, width = (math.ceil(side * max(2, 1 / share)) for side in (config.height, config.width))
    return (max(height, _SEGMENTED), max(width, _SEGMENTED)) if segmented else (height, width)


def augment(
    pixels: torch.Tensor, mask: torch.Tensor | None, config: SubjectConfig, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The augmented copies of one image: (pixels [3, H, W], mask [H, W]) at the config's size.

    The first is the image itself.  The others, as many as ``config.num_augmentations`` says, are mirrored by
    chance and cut to a part, where the settings allow either.

    Args:
        pixels: [3, h, w] in -1..1, of any size.
        mask: [h, w] in 0..1; None counts the whole image; what padding adds never counts.
        config: size, resize_mode, random_flip, min_crop_scale, num_augmentations.
        generator: of the chances.
    """
    both = torch.cat([pixels, torch.ones_like(pixels[:1]) if mask is None else mask[None]])  # [4,h,w]
    changing = config.random_flip or config.min_crop_scale < 1
    for index in range(config.num_augmentations if changing else 1):
        view = both
        if index and config.min_crop_scale < 1:
            view = _random_crop(view, config.min_crop_scale, generator)
        if index and config.random_flip and bool(torch.rand((), generator=generator) < 0.5):
            view = view.flip(-1)
        view = resize_to(view, config.height, config.width, config.resize_mode)
        yield view[:3], view[3]


def _random_crop(image: torch.Tensor, smallest: float, generator: torch.Generator) -> torch.Tensor:
    share = smallest + (1 - smallest) * float(torch.rand((), generator=generator))
    height, width = (max(1, round(share * side)) for side in image.shape[-2:])
    top = int(torch.randint(image.shape[-2] - height + 1, (), generator=generator))
    left = int(torch.randint(image.shape[-1] - width + 1, (), generator=generator))
    return image[:, top : top + height, left : left + width]


def resize_clip(pixels: torch.Tensor, frames: int, height: int, width: int) -> torch.Tensor:
    """A clip [3, F, H, W] of any length and size as [3, frames, height, width]: frames evenly chosen, cut centrally."""
    chosen = torch.linspace(0, pixels.shape[1] - 1, frames).round().long().tolist()
    full = torch.ones(1, *pixels.shape[2:])
    fitted = {i: resize_to(torch.cat([pixels[:, i], full]), height, width, "crop")[:3] for i in set(chosen)}
    return torch.stack([fitted[i] for i in chosen], dim=1)


def resize_to(image: torch.Tensor, height: int, width: int, fit: str) -> torch.Tensor:
    """Pixels with their mask, [4, h, w], brought to [4, height, width].

    "crop" cuts centrally to the shape wanted; "pad" shows all, on the mean colour of the border.
    """
    h, w = image.shape[-2:]
    scale = (max if fit == "crop" else min)(height / h, width / w)
    new_h, new_w = max(1, round(h * scale)), max(1, round(w * scale))
    pixels = F.interpolate(
        image[None, :3], (new_h, new_w), mode="bilinear", antialias=True, align_corners=False
    )[0].clamp(-1, 1)  # fmt: skip
    resized = torch.cat([pixels, resize_mask(image[3], new_h, new_w)[None]])
    if fit == "crop":
        top, left = (new_h - height) // 2, (new_w - width) // 2
        return resized[:, top : top + height, left : left + width]
    canvas = torch.zeros(4, height, width, dtype=image.dtype)
    canvas[:3] = _border_colour(pixels)[:, None, None]
    top, left = (height - new_h) // 2, (width - new_w) // 2
    canvas[:, top : top + new_h, left : left + new_w] = resized
    return canvas


def _border_colour(pixels: torch.Tensor) -> torch.Tensor:
    rim = torch.cat([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], dim=1)  # [3,P]
    return rim.mean(dim=1)
