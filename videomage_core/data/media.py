"""Clips and mp4 files, to and from tensors.  Stills are in ``images.py``, where the pixels' range is said.

Shapes: F frames, H W pixels.  A ``size`` is always (height, width).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from ..atomic_write import partial_file
from .images import (
    WHITE,
    Colour,
    Fit,
    Size,
    check_fit,
    fitted,
    list_images,
    read_image,
    shrunk,
    to_pixels,
)
from .video_decoding import decoded_images, decoded_times

FOLDER_FPS = 8.0  # of a folder of images when nobody says; the paper's rate (Sec. 4.1)


@dataclass(frozen=True)
class Clip:
    """A clip.

    Attributes:
        pixels: [3, F, H, W] float32 in -1..1.
        fps: frames per second at which it moves as fast as its source.
        indices: which frames of the source these are, F of them.
    """

    pixels: torch.Tensor
    fps: float
    indices: tuple[int, ...]


def load_clip(
    path: str | Path,
    frames: int,
    fps: float | None = None,
    size: Size | None = None,
    fit: Fit = "crop",
    background: Colour = WHITE,
    folder_fps: float | None = None,
    min_size: Size | None = None,
) -> Clip:
    """Read ``frames`` frames of a clip of any length and rate; only these are kept in memory.

    Args:
        path: a video file (mp4, webm, mov, gif, ...) or a folder of numbered images.
        frames: how many, F; ``choose_frames`` says which.
        fps: frame rate of the result; None spreads the frames over the whole clip.
        size: (H, W) of the result; None: the source's.
        fit: "crop" or "pad", as in ``read_image``.
        background: RGB 0..255, as in ``read_image``.
        folder_fps: frame rate of a folder of images; None: ``fps``, or 8.
        min_size: without ``size``, larger frames are downscaled while they are read, as in ``read_image``.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: no video in it, a damaged file, a clip of one frame, or wrong arguments.
    """
    path = Path(path)
    check_fit(size, fit)
    _check_rates(frames=frames, fps=fps, folder_fps=folder_fps)
    _require_there(path)
    if path.is_dir():
        times = [index / (folder_fps or fps or FOLDER_FPS) for index in range(count_frames(path))]
    else:
        times = decoded_times(path, math.inf if fps is None else frames / fps)
    if len(times) < 2:
        raise ValueError(f"clip: {path} has {len(times)} frame(s) and so no motion, give a clip of at least 2 frames")
    chosen, rate = choose_frames(np.array(times), frames, fps)
    return Clip(load_frames(path, chosen, size, fit, background, min_size), rate, tuple(chosen))


def count_frames(path: Path) -> int:
    """How many frames a clip has; a video is read to its end.  Raises as ``load_clip``."""
    _require_there(path)
    return len(list_images(path)) if path.is_dir() else len(decoded_times(path, math.inf))


def frame_size(path: Path) -> Size:
    """(H, W) of a clip's first frame, upright.  Raises as ``load_clip``."""
    _require_there(path)
    if path.is_dir():
        return read_image(list_images(path)[0], min_size=(1, 1)).source_size
    _, image = next(decoded_images(path, {0}, WHITE))
    return image.height, image.width


def load_frames(
    path: Path,
    indices: Sequence[int],
    size: Size | None = None,
    fit: Fit = "crop",
    background: Colour = WHITE,
    min_size: Size | None = None,
) -> torch.Tensor:
    """The frames of a clip with these indices, which must be there: [3, F, H, W] in -1..1.  Raises as ``load_clip``."""
    return _together(path, indices, _stills(path, indices, size, fit, background, min_size))


def load_masks(path: Path, indices: Sequence[int], min_size: Size | None = None) -> torch.Tensor:
    """The frames of a clip of masks, white on the subject, [F, H, W] in 0..1; otherwise as ``load_frames``."""
    stills = _stills(path, indices, None, "crop", WHITE, min_size)
    return _together(path, indices, ((i, (still.mean(0, keepdim=True) + 1) / 2) for i, still in stills))[0]


def _stills(
    path: Path, indices: Sequence[int], size: Size | None, fit: Fit, background: Colour, min_size: Size | None
) -> Iterator[tuple[int, torch.Tensor]]:
    """Index and pixels [3, H, W] of each of these frames, one by one."""
    if path.is_dir():
        images = list_images(path)
        for index in sorted(set(indices)):
            yield index, read_image(images[index], size, fit, background, min_size).pixels
        return
    shrink = min_size if size is None else None
    for index, image in decoded_images(path, set(indices), background):
        yield index, to_pixels(fitted(shrunk(image, shrink), size, fit, background))


def _together(path: Path, indices: Sequence[int], stills: Iterator[tuple[int, torch.Tensor]]) -> torch.Tensor:
    """F x [C, H, W] -> [C, F, H, W], filled frame by frame: twice a clip is too much to hold."""
    clip: torch.Tensor | None = None
    for index, still in stills:
        if clip is None:
            clip = still.new_empty(still.shape[0], len(indices), *still.shape[1:])
        if still.shape[1:] != clip.shape[2:]:
            sizes = [tuple(still.shape[1:]), tuple(clip.shape[2:])]
            raise ValueError(f"clip: {path} holds frames of several sizes ({sizes}), give a size to bring them to")
        for place in (n for n, of_frame in enumerate(indices) if of_frame == index):
            clip[:, place] = still
    assert clip is not None, "indices are of frames that are there"
    return clip


def _require_there(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"clip: {path} does not exist, give a video file or a folder of numbered images")


def choose_frames(times: np.ndarray, frames: int, fps: float | None) -> tuple[list[int], float]:
    """Which frames of a source to take, and the rate at which they keep its speed.

    With ``fps``, frame i is the one nearest to i / fps seconds after the first.  If the source is
    shorter than frames / fps, or ``fps`` is None, frames are spread evenly from the first to the
    last.  A source of fewer frames gives some of them more than once.

    Args:
        times: when each frame is shown, in seconds, rising, [N] with N >= 2.
        frames: how many are wanted, F.
        fps: the rate wanted, or None.

    Returns:
        F indices into ``times``, and frames per second.
    """
    since = times - times[0]
    interval = since[-1] / (len(times) - 1)
    # The last frame is shown for an interval too; half of one more forgives rates like 29.97.
    if fps is not None and since[-1] + 1.5 * interval >= frames / fps:
        moments, rate = np.arange(frames) / fps, fps
    else:
        moments = np.linspace(0, since[-1], frames)
        rate = (frames - 1) / since[-1] if frames > 1 else 1 / interval
    nearest = np.abs(since[None, :] - moments[:, None]).argmin(axis=1)  # [F,N] -> [F]
    return nearest.tolist(), float(rate)


def _check_rates(**values: float | None) -> None:
    problems = []
    for name, value in values.items():
        least = 1 if name in ("frames", "scale") else 0
        if value is not None and not (math.isfinite(value) and value >= least and value > 0):
            problems.append(f"{name}: got {value}, must be {'at least 1' if least else 'a number above 0'}")
    if problems:
        raise ValueError("; ".join(problems))


def to_uint8(pixels: torch.Tensor) -> np.ndarray:
    """A video [3, F, H, W] in -1..1 -> uint8 [F, H, W, 3]; values beyond are clipped.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    if pixels.ndim != 4 or pixels.shape[0] != 3 or 0 in pixels.shape:
        raise ValueError(f"pixels: got shape {tuple(pixels.shape)}, must be [3, F, H, W], none of them 0")
    values = pixels.detach().float().cpu()
    if not values.isfinite().all():
        raise ValueError("pixels: got values that are not finite; a base in fp16 can overflow, try bf16 or fp32")
    scaled = ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(1, 2, 3, 0).numpy()  # [3,F,H,W] -> [F,H,W,3]


def save_video(pixels: torch.Tensor, path: str | Path, fps: float, scale: int = 1) -> None:
    """Write an h264 mp4 that every player opens (yuv420p), atomically.

    Args:
        pixels: [3, F, H, W] in -1..1.  An odd height or width gains a copy of its last row or column.
        path: ends in .mp4; its folder is created if missing.
        fps: frames per second.
        scale: integer upscaling factor without smoothing; 1 is off.

    Raises:
        ValueError: see ``to_uint8``; another suffix; fps or scale out of range.
    """
    path = Path(path)
    _check_rates(fps=fps, scale=scale)
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"path: got {path}, must end in .mp4")
    images = to_uint8(pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_file(path)
    try:
        _encode(images, partial, Fraction(fps).limit_denominator(1001), int(scale))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _encode(images: np.ndarray, path: Path, fps: Fraction, scale: int) -> None:
    # images: uint8 [F,H,W,3]
    height, width = (side * scale for side in images.shape[1:3])
    even = ((0, height % 2), (0, width % 2), (0, 0))  # yuv420p halves both sides
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "17"})
        stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
        for index, image in enumerate(images):
            large = np.pad(image.repeat(scale, 0).repeat(scale, 1), even, mode="edge")
            frame = av.VideoFrame.from_ndarray(large, format="rgb24")
            frame.pts, frame.time_base = index, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
