"""Frames and maps between a video's frames and its latent frames.

A base may hold several frames in one latent frame: the first alone, then ``factor`` at a time (Wan: 4).  With a factor
of 1 both are the same.
"""

from __future__ import annotations

import torch


def latent_frames(frames: int, factor: int) -> int:
    """1 + n for 1 + n * factor frames.

    Raises:
        ValueError: there is no such n; with the nearest lengths.
    """
    if frames < 1 or (frames - 1) % factor:
        below = max(0, (frames - 1) // factor) * factor + 1
        raise ValueError(
            f"frames: got {frames}, this base makes 1 more than a multiple of {factor}; "
            f"nearest: {below} and {below + factor}"
        )
    return 1 + (frames - 1) // factor


def repeat_latent_frames(maps: torch.Tensor, factor: int) -> torch.Tensor:
    """Maps of latent frames [K, f, H, W], each shown for all the frames that it holds: [K, F, H, W]."""
    if factor == 1:
        return maps
    return torch.cat([maps[:, :1], maps[:, 1:].repeat_interleave(factor, dim=1)], 1)
