"""Laws of ``videomage_core/data/video_decoding.py``."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from videomage_core.data.images import WHITE
from videomage_core.data.video_decoding import decoded_images, decoded_times


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


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\x00\x01" * 500)
    with pytest.raises(ValueError, match=r"clip\.mp4 cannot be read.*save it anew as mp4"):
        decoded_times(tmp_path / "clip.mp4", 1)
