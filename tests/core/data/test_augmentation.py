"""Views: cut, padded, mirrored."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from videomage_core.config import SubjectConfig
from videomage_core.data.augmentation import augment, resize_clip, resize_to

CONFIG = SubjectConfig(height=16, width=24)


def views(config: SubjectConfig, pixels: torch.Tensor, mask: torch.Tensor | None = None):
    return list(augment(pixels, mask, config, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("size", [(16, 24), (7, 90), (90, 7), (33, 34), (1, 1)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_every_size_becomes_the_size_wanted(size, fit):
    ((pixels, mask),) = views(dataclasses.replace(CONFIG, resize_mode=fit), torch.rand(3, *size) * 2 - 1)
    assert pixels.shape == (3, 16, 24) and mask.shape == (16, 24)
    assert float(pixels.abs().max()) <= 1


def test_padding_counts_for_nothing_and_a_crop_for_all():
    ((_, padded),) = views(dataclasses.replace(CONFIG, resize_mode="pad"), torch.zeros(3, 16, 16))
    assert padded.sum() == 16 * 16
    ((_, cropped),) = views(CONFIG, torch.zeros(3, 16, 16))
    assert bool((cropped == 1).all())


def test_a_mask_moves_with_its_image():
    mask = torch.zeros(16, 24)
    mask[:, :6] = 1
    pixels = mask.expand(3, -1, -1) * 2 - 1
    config = dataclasses.replace(CONFIG, random_flip=True, min_crop_scale=0.5, num_augmentations=6)
    drawn = views(config, pixels, mask)
    assert len(drawn) == 6
    for shown, covered in drawn:
        torch.testing.assert_close((shown[0] + 1) / 2, covered, atol=0.15, rtol=0)
    assert len({round(float(covered[:, :12].sum())) for _, covered in drawn}) > 1


def test_padding_takes_the_colour_of_the_border():
    image = torch.cat([torch.full((3, 4, 4), 0.25), torch.ones(1, 4, 4)])
    assert bool((resize_to(image, 4, 8, "pad")[:3] - 0.25).abs().max() < 1e-6)


def numbered(frames: int, height: int = 8, width: int = 12) -> torch.Tensor:
    """A clip whose frames are grey, each lighter than the one before."""
    return torch.linspace(-1, 1, frames).view(1, -1, 1, 1).expand(3, -1, height, width)


@pytest.mark.parametrize(
    ("has", "wanted", "chosen"),
    [(9, 3, [0, 4, 8]), (3, 3, [0, 1, 2]), (2, 4, [0, 0, 1, 1]), (1, 3, [0, 0, 0]), (5, 1, [0]), (10, 4, [0, 3, 6, 9])],
)
def test_frames_of_a_clip_are_chosen_evenly_from_the_first_to_the_last(has, wanted, chosen):
    fitted = resize_clip(numbered(has), wanted, 8, 12)
    assert fitted.shape == (3, wanted, 8, 12)
    torch.testing.assert_close(fitted[0, :, 0, 0], numbered(has)[0, chosen, 0, 0])


def test_a_clip_that_fits_is_itself():
    clip = torch.rand(3, 4, 8, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(resize_clip(clip, 4, 8, 12), clip)


@pytest.mark.parametrize("size", [(8, 20), (20, 8), (3, 3), (16, 24)])
def test_a_clip_is_cut_centrally_and_never_padded(size):
    """Its middle stays in the middle, and nothing but the clip is seen."""
    height, width = size
    clip = torch.linspace(-0.5, 0.5, width).expand(3, 2, height, width)
    fitted = resize_clip(clip, 2, 8, 12)
    torch.testing.assert_close(fitted, -fitted.flip(-1), atol=1e-4, rtol=0)
    assert fitted.shape == (3, 2, 8, 12) and float(fitted.abs().max()) <= 0.5
    assert bool((fitted[..., 1:] >= fitted[..., :-1] - 1e-6).all())
