"""Masks: given ones are kept, plain backgrounds are cut, and what says nothing is refused."""

from __future__ import annotations

import pytest
import torch

from emoji_world.world.characters import held_out_characters
from emoji_world.world.scene import Scene, draw
from videomage_core.data.masks import GivenMasks, PlainBackground, require_useful, resize_mask


def to_clip(frames) -> torch.Tensor:
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1  # [F,H,W,3] -> [3,F,H,W]


@pytest.mark.parametrize("character", held_out_characters("development"), ids=lambda c: c.concept)
def test_a_character_on_a_plain_background_is_found(character):
    drawing = draw(Scene((character,), "jumping", "plain", 3))
    mask = PlainBackground().segment(to_clip(drawing.frames), [character.concept])[0] > 0.5
    truth = torch.from_numpy(drawing.masks[0]) > 0.5
    overlap = (mask & truth).sum() / (mask | truth).sum()
    assert overlap > 0.75


def test_a_background_that_is_not_plain_is_refused():
    character = held_out_characters("development")[0]
    frames = draw(Scene((character,), "jumping", "grass", 3)).frames
    with pytest.raises(ValueError, match="image of 'dog': its border has many colours"):
        PlainBackground().segment(to_clip(frames), ["dog"])
    with pytest.raises(ValueError, match=r"got 2 \(dog, cat\), a plain background is cut from one subject"):
        PlainBackground().segment(to_clip(frames), ["dog", "cat"])


def test_given_masks_are_resized_by_area():
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, :, :2, :2], masks[1, :, 4:] = 1, 1
    resized = GivenMasks(masks).segment(torch.zeros(3, 1, 4, 4), ["a", "b"])
    assert resized.shape == (2, 1, 4, 4)
    assert torch.allclose(resized.mean((-1, -2)), masks.mean((-1, -2)))
    assert resized[0, 0, 0, 0] == 1 and resized[0, 0, 0, 1] == 0


def test_a_mask_may_grow_too():
    mask = torch.zeros(1, 4, 4)
    mask[:, 1:3, 1:3] = 1
    grown = resize_mask(mask, 16, 16)
    assert grown.shape == (1, 16, 16) and abs(float(grown.mean() - mask.mean())) < 0.02


def test_masks_must_match_words_and_frames():
    with pytest.raises(ValueError, match=r"got 1 masks of 2 frames, needed are 2 \(dog, cat\) of 3 frames"):
        GivenMasks(torch.ones(1, 2, 4, 4)).segment(torch.zeros(3, 3, 4, 4), ["dog", "cat"])


def test_an_empty_and_a_full_mask_are_refused():
    with pytest.raises(ValueError, match="mask of 'dog': it is empty"):
        GivenMasks(torch.zeros(1, 1, 4, 4)).segment(torch.zeros(3, 1, 4, 4), ["dog"])
    with pytest.raises(ValueError, match="mask of 'dog': it covers the whole image"):
        GivenMasks(torch.ones(1, 1, 4, 4)).segment(torch.zeros(3, 1, 4, 4), ["dog"])
    late = torch.zeros(3, 4, 4)
    late[2, :2] = 1
    require_useful(late, "a subject that enters late")
