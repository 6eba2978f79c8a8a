"""Where the model looks, shown: attention maps laid over the frames they are of."""

from __future__ import annotations

import torch

COLOURS = ((1.0, -1.0, -1.0), (-1.0, 0.2, 1.0), (1.0, 0.8, -1.0), (0.0, 1.0, -1.0))  # of subjects, by turns


def overlay(video: torch.Tensor, maps: torch.Tensor, strength: float = 0.75) -> torch.Tensor:
    """One video for each subject, tinted where its map is high.

    Args:
        video: [3, F, H, W] in -1..1.
        maps: [K, F, H, W]; each is stretched to 0..1 over all of its frames.
        strength: of the tint where a map is 1.

    Returns:
        [K, 3, F, H, W] in -1..1.
    """
    if maps.ndim != 4 or maps.shape[1:] != video.shape[1:]:
        raise ValueError(f"maps: got {tuple(maps.shape)}, must be [K, {', '.join(map(str, video.shape[1:]))}]")
    low, high = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
    share = (strength * (maps - low) / (high - low).clamp(min=1e-8))[:, None]  # [K,1,F,H,W]
    tint = torch.tensor([COLOURS[k % len(COLOURS)] for k in range(len(maps))])[..., None, None, None]  # [K,3,1,1,1]
    grey = video.mean(0, keepdim=True).expand_as(video)
    return (1 - share) * (0.5 * video + 0.5 * grey) + share * tint


def tinted(video: torch.Tensor, masks: torch.Tensor, strength: float = 0.55) -> torch.Tensor:
    """One video in which each subject has a colour.

    Args:
        video: [3, F, H, W] in -1..1.
        masks: [N, F, H, W] in 0..1.
        strength: of the colour where a mask is 1.

    Returns:
        [3, F, H, W] in -1..1.
    """
    shown = video.clone()
    for k, mask in enumerate(masks):
        colour = torch.tensor(COLOURS[k % len(COLOURS)])[:, None, None, None]  # [3,1,1,1]
        shown = shown + strength * mask * (colour - shown)
    return shown
