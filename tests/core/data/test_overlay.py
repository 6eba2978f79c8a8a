"""Maps over frames: where a map is high the tint shows, where it is low the frame does."""

from __future__ import annotations

import pytest
import torch

from videomage_core.data.overlay import COLOURS, labelled_overlays, on_frames, overlay, tinted


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


def test_latent_frames_stand_for_one_frame_then_for_four():
    maps = torch.arange(3.0)[None, :, None, None].expand(2, 3, 4, 5)
    frames = on_frames(maps, 9, 8, 10)
    assert frames.shape == (2, 9, 8, 10)
    assert frames[0, :, 3, 3].tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert torch.equal(on_frames(maps[:, :1], 1, 4, 5), maps[:, :1])


def test_frames_of_another_sampling_are_refused():
    with pytest.raises(ValueError, match="images: got 10 frames, the guider sampled 3 latent frames, which are 9"):
        on_frames(torch.zeros(1, 3, 4, 5), 10, 8, 8)


def test_each_subject_has_its_own_named_video():
    video, seen = torch.zeros(3, 5, 128, 160), torch.zeros(2, 8, 10)
    seen[1, 7, 9] = 1  # the last corner, from the second frame on
    shown = labelled_overlays(video, [("dog", torch.zeros(2, 8, 10)), ("sks cat", seen)], strength=1.0)
    assert shown.shape == (3, 5, 128, 320)
    assert torch.allclose(shown[:, 1:, -1, -1], torch.tensor(COLOURS[1])[:, None].expand(3, 4))
    assert torch.equal(shown[:, 0, -1, -1], video[:, 0, -1, -1]) and torch.equal(
        shown[..., -1, 159], video[..., -1, 159]
    )
    assert (shown[:, :, :20, :40] > 0.5).any() and (shown[:, :, :20, 160:200] > 0.5).any()  # the words
    assert not torch.equal(shown[:, :, :20, :60], shown[:, :, :20, 160:220])


def test_without_maps_the_video_is_plain():
    video = torch.rand(3, 5, 16, 16)
    assert labelled_overlays(video, []) is video
