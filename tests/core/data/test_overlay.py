"""Maps over frames: where a map is high the tint shows, where it is low the frame does."""

from __future__ import annotations

import pytest
import torch

from videomage_core.data.overlay import COLOURS, overlay, tinted


def test_the_tint_is_where_the_map_is_high():
    video, maps = torch.zeros(3, 2, 4, 4), torch.zeros(2, 2, 4, 4)
    maps[0, :, 0, 0], maps[1, :, 3, 3] = 0.2, 5.0  # each is stretched for itself
    shown = overlay(video, maps, strength=1.0)
    assert shown.shape == (2, 3, 2, 4, 4)
    for k, place in ((0, 0), (1, 3)):
        assert torch.allclose(shown[k, :, 0, place, place], torch.tensor(COLOURS[k]))
        assert torch.equal(shown[k, :, :, 1, 1], torch.zeros(3, 2))


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"maps: got \(1, 2, 3, 3\), must be \[K, 2, 4, 4\]"):
        overlay(torch.zeros(3, 2, 4, 4), torch.zeros(1, 2, 3, 3))


def test_tinted_colours_masks_and_leaves_the_rest():
    video, masks = torch.zeros(3, 2, 4, 5), torch.zeros(2, 2, 4, 5)
    masks[0, :, :2], masks[1, 1, 3] = 1, 1
    shown = tinted(video, masks, strength=0.5)
    assert torch.equal(shown[:, :, 2], video[:, :, 2]) and torch.equal(shown[:, 0, 3], video[:, 0, 3])
    torch.testing.assert_close(shown[:, 0, 0, 0], 0.5 * torch.tensor(COLOURS[0]))
    torch.testing.assert_close(shown[:, 1, 3, 4], 0.5 * torch.tensor(COLOURS[1]))
    assert torch.equal(video, torch.zeros_like(video))
