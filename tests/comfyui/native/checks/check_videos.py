"""The core's VIDEO as the pack's nodes read it."""

from __future__ import annotations

import inspect
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl
from videomage_pack.nodes.conversions import clip_images, clip_pixels
from videomage_pack.videomage_core.data.video_decoding import DecodedFrames


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for index in range(12):
            image = np.full((16, 32, 3), (20 * index, 90, 255 - 20 * index), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("in_memory", [False, True])
def check_frames_are_the_core_s_own(file, in_memory):
    video = InputImpl.VideoFromFile(BytesIO(file.read_bytes()) if in_memory else str(file))
    frames, images = clip_images(video), video.get_components().images
    assert isinstance(frames, DecodedFrames) and len(frames) == len(images) == 12
    assert torch.equal(frames[2:9], images[2:9])
    torch.testing.assert_close(clip_pixels(video), images.permute(3, 0, 1, 2) * 2 - 1)
    assert clip_pixels(video, (8, 8)).shape == (3, 12, 8, 16)


def check_what_is_no_file_or_a_part_of_one_is_asked_of_the_core(file):
    components = InputImpl.VideoFromFile(str(file)).get_components()
    assert clip_images(InputImpl.VideoFromComponents(components)) is components.images
    if "start_time" in inspect.signature(InputImpl.VideoFromFile.__init__).parameters:
        part = InputImpl.VideoFromFile(str(file), start_time=0.5)
        assert torch.equal(clip_images(part)[:], part.get_components().images)
    held = InputImpl.VideoFromFile(str(file))
    held._VideoFromFile__start_time = 0.5  # as newer cores keep it
    assert isinstance(clip_images(held), torch.Tensor)
