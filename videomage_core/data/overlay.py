"""Attention maps laid over the frames they belong to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .frames import side_by_side

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
    frames = video.clone()
    for k, mask in enumerate(masks):
        colour = torch.tensor(COLOURS[k % len(COLOURS)])[:, None, None, None]  # [3,1,1,1]
        frames = frames + strength * mask * (colour - frames)
    return frames


def labelled_overlays(
    video: torch.Tensor, maps: Sequence[tuple[str, torch.Tensor]], strength: float = 0.75
) -> torch.Tensor:
    """The video once for each subject, side by side, tinted where its map is high and with its word on it.

    Args:
        video: [3, F, H, W] in -1..1.
        maps: for each subject its word and [f, h, w], of f latent frames; none gives the plain video.
        strength: of the tint where a map is highest.

    Returns:
        [3, F, H, K*W] in -1..1.

    Raises:
        ValueError: the video's length is not that of the maps' latent frames.
    """
    if not maps:
        return video
    words, stacked = [word for word, _ in maps], torch.stack([one.detach().float().cpu() for _, one in maps])
    overlays = overlay(video, on_frames(stacked, *video.shape[1:]), strength)
    return side_by_side([_named(one, word) for one, word in zip(overlays, words, strict=True)])


def on_frames(maps: torch.Tensor, frames: int, height: int, width: int) -> torch.Tensor:
    """Maps of latent frames on a video's: the first latent frame is the first frame, each later one is four.

    Args:
        maps: [K, f, h, w].
        frames: F, which must be 4 (f - 1) + 1.
        height: H.
        width: W.

    Returns:
        [K, F, H, W].
    """
    f = maps.shape[1]
    if frames != 4 * (f - 1) + 1:
        raise ValueError(
            f"images: got {frames} frames, the guider sampled {f} latent frames, which are {4 * (f - 1) + 1}; connect "
            "all frames of its own video, from VAE Decode"
        )
    of = [(frame + 3) // 4 for frame in range(frames)]  # the latent frame of each frame
    return torch.nn.functional.interpolate(maps, (height, width), mode="bilinear")[:, of]


def _named(video: torch.Tensor, word: str) -> torch.Tensor:
    """The video [3, F, H, W] with a word at its upper left, in a font that grows with it; tiny ones stay bare."""
    height, width = video.shape[2:]
    if min(height, width) < 96:
        return video
    font = ImageFont.load_default(max(12, height // 20))
    _, _, right, bottom = (int(side) for side in font.getbbox(word))
    plate = Image.new("L", (min(right + 8, width), min(bottom + 8, height)), 0)
    ImageDraw.Draw(plate).text((4, 4), word, fill=255, font=font)
    ink = torch.from_numpy(np.array(plate)).float() / 127.5 - 1  # [h,w] in -1..1
    frames = video.clone()
    frames[:, :, : ink.shape[0], : ink.shape[1]] = ink
    return frames
