"""Videos decoded frame by frame: when each frame is shown, and chosen frames, as upright images or as a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Protocol

import av
import torch
from PIL import Image

from ..file_problem import file_problem
from .images import Colour, on_background

_RATE = 8.0  # of a file that has neither timestamps nor a rate; the paper's (Sec. 4.1)

# av tells the turn in degrees counter-clockwise, as Pillow counts.
_TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}


class Frames(Protocol):
    """Frames [F, H, W, C] in 0..1, as image programs hold them: a tensor, or ``DecodedFrames``."""

    def __len__(self) -> int: ...

    def __getitem__(self, frames: slice, /) -> torch.Tensor: ...


class DecodedFrames:
    """The frames of a video as ComfyUI gives them, in place of a tensor of them all: decoded when they are asked for.

    [F, H, W, 3] float32 in 0..1, as the file stores them: not turned, without transparency.  Best asked for in order.

    Raises:
        ValueError: no video, or a damaged one; when frames are counted or asked for.
    """

    def __init__(self, source: Path | BytesIO) -> None:
        self._source = source
        self._left: Iterator[tuple[int, float, av.VideoFrame]] = iter(())
        self._last: tuple[int, torch.Tensor] | None = None  # the frame asked for last, with its index

    @cached_property
    def _count(self) -> int:
        return sum(1 for _ in _decoded(self._source))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, frames: slice, /) -> torch.Tensor:
        return torch.stack([self._frame(index) for index in range(*frames.indices(len(self)))])

    def _frame(self, asked: int) -> torch.Tensor:
        if self._last is None or asked < self._last[0]:
            self._left, self._last = _decoded(self._source), None
        if self._last is None or asked > self._last[0]:
            frame = next(frame for index, _, frame in self._left if index == asked)
            self._last = asked, torch.from_numpy(frame.to_ndarray(format="rgb24")).float() / 255
        return self._last[1]


def _decoded(source: Path | BytesIO) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Index, time in seconds and frame, one by one."""
    path = source if isinstance(source, Path) else "the video"
    if isinstance(source, BytesIO):
        source.seek(0)
    try:
        with av.open(str(source) if isinstance(source, Path) else source) as container:
            if not container.streams.video:
                raise ValueError(f"clip: {path} holds no video, give a video file or a folder of numbered images")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or _RATE)
            for index, frame in enumerate(container.decode(stream)):
                yield index, index / rate if frame.time is None else frame.time, frame
    except av.FFmpegError as error:
        why = file_problem(source) if isinstance(source, Path) else None
        why = f": it {why}" if why else f" ({error}); it is damaged or of an unknown format: save it anew as mp4 (h264)"
        raise ValueError(f"clip: {path} cannot be read{why}") from error


def decoded_times(path: Path, seconds: float) -> list[float]:
    """When each frame is shown, up to the first that is ``seconds`` or more after the start, [N]."""
    times: list[float] = []
    for _, time, _ in _decoded(path):
        if times and time <= times[-1]:
            time = times[-1] + 1e-3  # a broken timestamp must not send the clock back
        times.append(time)
        if time - times[0] >= seconds and len(times) > 1:
            break
    return times


def decoded_images(path: Path, indices: set[int], background: Colour) -> Iterator[tuple[int, Image.Image]]:
    """The frames of these indices, one by one."""
    left = len(indices)
    for index, _, frame in _decoded(path):
        if index in indices:
            yield index, _upright(frame, background)
            left -= 1
            if not left:
                break


def _upright(frame: av.VideoFrame, background: Colour) -> Image.Image:
    """A frame as RGB, turned as the file says (phones), transparent parts (gif) on the background."""
    if any(component.is_alpha for component in frame.format.components):
        image = on_background(Image.fromarray(frame.to_ndarray(format="rgba")), background)
    else:
        image = frame.to_image()
    turn = frame.rotation % 360
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image
