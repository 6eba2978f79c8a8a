"""ComfyUI's IMAGE, MASK and VIDEO, to and from the engine's pixels."""

from __future__ import annotations

import os
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import torch
from comfy_api.latest import InputImpl, io

from ..videomage_core.data.frames import frames_to_pixels, pixels_to_frames
from ..videomage_core.data.video_decoding import DecodedFrames, Frames

CLIP_TYPES = [io.Image, io.Video]


def clip_images(clip: Any) -> Frames:
    """IMAGE or VIDEO -> frames [F, H, W, C] in 0..1, not copied; a VIDEO that is a file is not read as a whole."""
    if not hasattr(clip, "get_components"):
        return cast(torch.Tensor, clip)
    if isinstance(clip, InputImpl.VideoFromFile) and not _trimmed(clip):
        source = clip.get_stream_source()
        return DecodedFrames(source if isinstance(source, BytesIO) else Path(source))
    images: torch.Tensor = clip.get_components().images
    return images


def _trimmed(clip: Any) -> bool:
    """Whether a VIDEO has settings beside its file, as newer cores' have of what part is taken."""
    return any(bool(value) for name, value in vars(clip).items() if not name.endswith("__file"))


def clip_pixels(clip: Any, min_size: tuple[int, int] | None = None) -> torch.Tensor:
    """IMAGE or VIDEO -> [3, F, H, W] in -1..1; with ``min_size`` larger ones are shrunk, as by ``frames_to_pixels``."""
    frames = clip_images(clip)
    if isinstance(frames, torch.Tensor):
        return frames_to_pixels(frames, min_size)
    return torch.cat([frames_to_pixels(frames[i : i + 1], min_size) for i in range(len(frames))], dim=1)


def image(pixels: torch.Tensor) -> torch.Tensor:
    """[3, F, H, W] in -1..1 -> IMAGE."""
    return pixels_to_frames(pixels)


def video(pixels: torch.Tensor, fps: float) -> Any:
    """[3, F, H, W] in -1..1 -> VIDEO."""
    from comfy_api.latest import Types

    rate = Fraction(fps).limit_denominator(1001)
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=pixels_to_frames(pixels), frame_rate=rate))


def masks(given: list[torch.Tensor]) -> torch.Tensor | None:
    """MASKs, one for each subject -> [N, F, H, W]; None without masks.

    Raises:
        ValueError: their sizes or lengths differ.
    """
    if not given:
        return None
    batches = [mask.float() if mask.ndim == 3 else mask[None].float() for mask in given]
    shapes = {tuple(batch.shape) for batch in batches}
    if len(shapes) > 1:
        raise ValueError(f"masks: got shapes {sorted(shapes)}, all must be of one length and size, that of the clip")
    return torch.stack(batches)


def lines_of(text: str) -> list[str]:
    """The non-empty lines of a text."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def typed_path(text: str | None) -> Path | None:
    """A typed or pasted path without surrounding blanks and quotes; None if empty."""
    bare = (text or "").strip().strip('"')
    return Path(os.path.expanduser(bare)) if bare else None  # Path's own raises for a user that there is not


def folder(text: str | None, what: str) -> Path | None:
    """A typed folder, or None if empty; FileNotFoundError if it does not exist."""
    path = typed_path(text)
    if path is not None and not os.path.isdir(path):  # Path's own raises for a name that is too long
        raise FileNotFoundError(f"{what}: {path} is not a folder on this machine")
    return path
