"""Frames as image programs hold them, [F, H, W, C] in 0..1, to and from the engine's pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from .media import to_uint8


def shrunk_pixels(pixels: torch.Tensor, min_size: tuple[int, int]) -> torch.Tensor:
    """A video [3, F, H, W] or masks [N, F, H, W], shrunk to the smallest of its aspect that covers ``min_size`` (H, W);
    a smaller one as it is."""
    height, width = pixels.shape[-2:]
    scale = max(min_size[0] / height, min_size[1] / width)
    if scale >= 1:
        return pixels
    size = max(1, round(height * scale)), max(1, round(width * scale))
    frames = (functional.interpolate(f[None], size, mode="bilinear", antialias=True)[0] for f in pixels.unbind(1))
    return torch.stack(list(frames), dim=1)


def frames_to_pixels(frames: torch.Tensor, min_size: tuple[int, int] | None = None) -> torch.Tensor:
    """Frames [F, H, W, C] in 0..1 -> [3, F, H, W] in -1..1; grey is repeated, a fourth channel (alpha) left out.

    With ``min_size`` larger ones are shrunk, as by ``shrunk_pixels``.

    Raises:
        ValueError: another shape.
    """
    if frames.ndim != 4 or frames.shape[-1] not in (1, 3, 4) or 0 in frames.shape:
        raise ValueError(f"images: got shape {tuple(frames.shape)}, must be [F, H, W, C] with 1, 3 or 4 channels")
    colour = frames[..., :3].float().cpu()
    pixels = colour.expand(*colour.shape[:3], 3).permute(3, 0, 1, 2)  # [F,H,W,3] -> [3,F,H,W]
    pixels = pixels if min_size is None else shrunk_pixels(pixels, min_size)
    return pixels.clone() * 2 - 1


def pixels_to_frames(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels [3, F, H, W] in -1..1 -> frames [F, H, W, 3] in 0..1, on the CPU."""
    return ((pixels.detach().float().cpu().clamp(-1, 1) + 1) / 2).permute(1, 2, 3, 0).contiguous()


def image_to_frames(image: Image.Image) -> torch.Tensor:
    """An image as one frame [1, H, W, 3] in 0..1."""
    return torch.from_numpy(np.array(image.convert("RGB"))).float()[None] / 255


def middle_image(pixels: torch.Tensor) -> Image.Image:
    """The middle frame of a video [3, F, H, W], as an image."""
    return Image.fromarray(to_uint8(pixels)[pixels.shape[1] // 2])


def side_by_side(videos: Sequence[torch.Tensor]) -> torch.Tensor:
    """Videos [3, F, H, W] of one size as one, [3, F, H, N*W]."""
    return torch.cat(list(videos), dim=-1)


def quantize(values: torch.Tensor, lowest: float) -> torch.Tensor:
    """Values in ``lowest``..1 as uint8, as files hold them: the same whatever device or library read them."""
    scaled = values.detach().float().cpu() - lowest  # a copy; the rest in place, as a clip's can be large
    return scaled.mul_(255 / (1 - lowest)).round_().clamp_(0, 255).to(torch.uint8)
