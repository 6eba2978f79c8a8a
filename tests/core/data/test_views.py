"""Views: cut, padded, mirrored."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from videomage_core.config import SubjectConfig
from videomage_core.data.views import draw_views, fit_to

CONFIG = SubjectConfig(height=16, width=24)


def views(config: SubjectConfig, pixels: torch.Tensor, mask: torch.Tensor | None = None):
    return list(draw_views(pixels, mask, config, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("size", [(16, 24), (7, 90), (90, 7), (33, 34), (1, 1)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_every_size_becomes_the_size_wanted(size, fit):
    ((pixels, mask),) = views(dataclasses.replace(CONFIG, fit=fit), torch.rand(3, *size) * 2 - 1)
    assert pixels.shape == (3, 16, 24) and mask.shape == (16, 24)
    assert float(pixels.abs().max()) <= 1


def test_padding_counts_for_nothing_and_a_crop_for_all():
    ((_, padded),) = views(dataclasses.replace(CONFIG, fit="pad"), torch.zeros(3, 16, 16))
    assert padded.sum() == 16 * 16
    ((_, cropped),) = views(CONFIG, torch.zeros(3, 16, 16))
    assert bool((cropped == 1).all())


def test_a_mask_moves_with_its_picture():
    mask = torch.zeros(16, 24)
    mask[:, :6] = 1
    pixels = mask.expand(3, -1, -1) * 2 - 1
    config = dataclasses.replace(CONFIG, flip=True, smallest_crop=0.5, views=6)
    drawn = views(config, pixels, mask)
    assert len(drawn) == 6
    for shown, covered in drawn:
        torch.testing.assert_close((shown[0] + 1) / 2, covered, atol=0.15, rtol=0)
    assert len({round(float(covered[:, :12].sum())) for _, covered in drawn}) > 1


def test_padding_takes_the_colour_of_the_border():
    picture = torch.cat([torch.full((3, 4, 4), 0.25), torch.ones(1, 4, 4)])
    assert bool((fit_to(picture, 4, 8, "pad")[:3] - 0.25).abs().max() < 1e-6)
