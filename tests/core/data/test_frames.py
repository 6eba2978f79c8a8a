from __future__ import annotations

import pytest
import torch
from PIL import Image

from videomage_core.data.frames import (
    frames_to_pixels,
    image_to_frames,
    middle_image,
    pixels_to_frames,
    quantize,
    side_by_side,
)


def test_frames_to_pixels_and_back():
    frames = torch.rand(5, 6, 7, 3)
    pixels = frames_to_pixels(frames)
    assert pixels.shape == (3, 5, 6, 7)
    assert torch.allclose(pixels_to_frames(pixels), frames, atol=1e-6)
    assert pixels.min() >= -1 and pixels.max() <= 1


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_is_repeated_and_alpha_left_out(channels):
    frames = torch.rand(2, 3, 4, channels)
    pixels = frames_to_pixels(frames)
    assert pixels.shape == (3, 2, 3, 4)
    expected = frames[..., :3].expand(2, 3, 4, 3) * 2 - 1
    assert torch.allclose(pixels.permute(1, 2, 3, 0), expected)


@pytest.mark.parametrize("shape", [(3, 4, 3), (0, 4, 4, 3), (2, 4, 4, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="images: got shape"):
        frames_to_pixels(torch.zeros(shape))


def test_values_out_of_range_are_cut():
    assert pixels_to_frames(torch.full((3, 1, 2, 2), 1.7)).max() == 1


def test_images():
    red = torch.stack([torch.ones(3, 2, 2), -torch.ones(3, 2, 2), -torch.ones(3, 2, 2)])  # [3,F,H,W]: red
    assert middle_image(red).getpixel((0, 0)) == (255, 0, 0)
    assert torch.equal(image_to_frames(Image.new("L", (4, 3), 255)), torch.ones(1, 3, 4, 3))
    assert side_by_side([red, red]).shape == (3, 3, 2, 4)


def test_eight_bits_are_those_of_the_file_however_it_was_read():
    written = torch.arange(256).to(torch.uint8)
    as_pixels = written.double() / 255 * 2 - 1
    for read in (as_pixels.float(), as_pixels.float() * (1 - 1e-6), as_pixels.float() + 1e-5):
        assert torch.equal(quantize(read, -1), written)
    assert torch.equal(quantize(written.float() / 255, 0), written)
    assert quantize(torch.tensor([-3.0, 3.0]), -1).tolist() == [0, 255]
