"""Video files decoded frame by frame: when each frame is shown, and chosen frames as upright RGB images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
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


def _decoded(path: Path) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Index, time in seconds and frame, one by one."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"clip: {path} holds no video, give a video file or a folder of numbered images")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or _RATE)
            for index, frame in enumerate(container.decode(stream)):
                yield index, index / rate if frame.time is None else frame.time, frame
    except av.FFmpegError as error:
        why = file_problem(path)
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
