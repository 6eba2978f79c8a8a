"""Masks and maps between frames and latent frames."""

import pytest
import torch

from videomage_core.data.masks import latent_masks, resize_mask
from videomage_core.model.latent_time import latent_frames, repeat_latent_frames


def test_a_latent_mask_is_the_mean_of_its_frames():
    masks = torch.zeros(1, 9, 32, 48)
    masks[0, 0] = 1  # the first frame
    masks[0, 2, :16] = 1  # one of the second latent's four, its upper half
    got = latent_masks(masks, 2, 3, 4)
    assert got.shape == (1, 3, 2, 3)
    assert got[0, 0].eq(1).all() and got[0, 1, 0].eq(0.25).all() and got[0, 1, 1].eq(0).all() and not got[0, 2].any()
    assert latent_masks(masks[:, :1], 2, 3, 4).shape == (1, 1, 2, 3)


def test_with_a_latent_for_each_frame_only_the_sides_change():
    masks = torch.rand(2, 8, 32, 48, generator=torch.Generator().manual_seed(0))
    assert torch.equal(latent_masks(masks, 2, 3, 1), resize_mask(masks, 2, 3))
    assert repeat_latent_frames(masks, 1) is masks


def test_maps_are_shown_for_the_frames_that_a_latent_holds():
    maps = torch.arange(3.0).view(1, 3, 1, 1)
    assert repeat_latent_frames(maps, 4).flatten().tolist() == [0, *[1] * 4, *[2] * 4]
    masks = repeat_latent_frames(torch.rand(2, 3, 4, 4), 4)
    torch.testing.assert_close(repeat_latent_frames(latent_masks(masks, 4, 4, 4), 4), masks)


def test_lengths_are_one_more_than_a_multiple():
    assert [latent_frames(frames, 4) for frames in (1, 5, 81)] == [1, 2, 21]
    assert latent_frames(8, 1) == 8
    with pytest.raises(ValueError, match="got 8, this base makes 1 more than a multiple of 4; nearest: 5 and 9"):
        latent_frames(8, 4)
    with pytest.raises(ValueError, match="frames: got 0"):
        latent_masks(torch.zeros(1, 0, 4, 4), 2, 2, 4)
