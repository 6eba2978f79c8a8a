"""Laws of ``videomage_core/data/video_decoding.py``."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from videomage_core.data import video_decoding
from videomage_core.data.examples import make_motion_clip
from videomage_core.data.images import WHITE
from videomage_core.data.video_decoding import DecodedFrames, decoded_images, decoded_times


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Five frames, each brighter than the last, shown at moments of their own."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, moment in enumerate((0, 40, 80, 500, 1000)):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), 60 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = moment, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_times_are_the_files_own(clip: Path) -> None:
    assert decoded_times(clip, 60) == pytest.approx([0, 0.04, 0.08, 0.5, 1.0])


def test_decoding_stops_where_enough_is_seen(clip: Path) -> None:
    assert decoded_times(clip, 0.3) == pytest.approx([0, 0.04, 0.08, 0.5])
    assert len(decoded_times(clip, 0)) == 2, "one frame is no motion"


def test_the_frames_asked_for_come_in_the_files_order(clip: Path) -> None:
    images = dict(decoded_images(clip, {3, 1}, WHITE))
    assert list(images) == [1, 3]
    assert {image.size for image in images.values()} == {(32, 16)}
    for index, image in images.items():
        assert np.asarray(image).mean() == pytest.approx(60 * index, abs=3)


@pytest.mark.parametrize("in_memory", [False, True])
def test_frames_of_a_file_stand_for_a_tensor_of_them_all(clip: Path, in_memory: bool) -> None:
    with av.open(str(clip)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    whole = torch.from_numpy(np.stack(decoded)).float() / 255
    frames = DecodedFrames(BytesIO(clip.read_bytes()) if in_memory else clip)
    assert len(frames) == 5
    for part in (slice(0, 5), slice(3, 4), slice(1, 3), slice(4, 5), slice(4, 5), slice(-2, None)):
        assert torch.equal(frames[part], whole[part])
    taken, same = (make_motion_clip(images, (), None, 7, (8, 8)).pixels for images in (frames, whole))
    assert taken.shape == (3, 7, 8, 16) and torch.equal(taken, same)


def test_frames_are_decoded_once_to_count_them_and_once_in_order(clip: Path, monkeypatch) -> None:
    opened: list[int] = []
    decode = video_decoding._decoded
    monkeypatch.setattr(video_decoding, "_decoded", lambda source: opened.append(1) or decode(source))
    make_motion_clip(DecodedFrames(clip), (), None, 9)
    assert len(opened) == 2


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\x00\x01" * 500)
    with pytest.raises(ValueError, match=r"clip\.mp4 cannot be read.*save it anew as mp4"):
        decoded_times(tmp_path / "clip.mp4", 1)
    with pytest.raises(ValueError, match=r"clip\.mp4 cannot be read.*save it anew as mp4"):
        len(DecodedFrames(tmp_path / "clip.mp4"))
    with pytest.raises(ValueError, match=r"clip: the video cannot be read .*save it anew as mp4"):
        len(DecodedFrames(BytesIO(b"\x00\x01" * 500)))
