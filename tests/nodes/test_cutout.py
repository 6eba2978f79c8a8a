"""Cut Out for Fusion: the LoRA keeps what it is, and has the clip beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from videomage_core.data.lora_file import LoraModel


@pytest.fixture
def toy(make_lora_model: Any, shared_emoji_base: Any) -> LoraModel:
    return make_lora_model(shared_emoji_base, 1)


def test_a_clip_and_a_photo_are_cut_out_by_their_masks(nodes: dict[str, Any], toy: LoraModel) -> None:
    node, clip, mask = nodes["VideoMage_SubjectClip"], torch.rand(5, 20, 30, 3), torch.zeros(5, 20, 30)
    mask[:, 4:16, 6:20] = 1
    one = node.execute(toy, clip, mask).result[0]
    two = node.execute(one, clip[:1], mask[:1]).result[0]
    assert [cutout.pixels.shape for cutout in two.cutouts] == [(3, 5, 12, 14), (3, 1, 12, 14)]
    torch.testing.assert_close(two.cutouts[0].pixels, clip[:, 4:16, 6:20].permute(3, 0, 1, 2) * 2 - 1)
    assert two.weights is toy.weights and not toy.cutouts
    assert two.key_parts() != one.key_parts() != toy.key_parts(), "a fusion with other clips is another fusion"


def test_masks_that_say_nothing_or_do_not_fit_are_refused(nodes: dict[str, Any], toy: LoraModel) -> None:
    node, clip = nodes["VideoMage_SubjectClip"], torch.rand(4, 8, 8, 3)
    for mask, said in [
        (torch.zeros(4, 8, 8), "mask of '<toy>': it is empty"),
        (torch.ones(8, 8), "mask of '<toy>': it covers the whole image"),
        (torch.ones(3, 8, 8), "mask of <toy>: got 3 frames for a clip of 4"),
    ]:
        with pytest.raises(ValueError, match=said):
            node.execute(toy, clip, mask)


def test_a_large_clip_is_shrunk_to_twice_the_papers_size(nodes: dict[str, Any], toy: LoraModel) -> None:
    clip, mask = torch.zeros(1, 1280, 2304, 3), torch.zeros(1, 1280, 2304)  # twice 640 x 1152
    clip[:, 200:600, 400:1200], mask[:, 200:600, 400:1200] = 1, 1
    (cutout,) = nodes["VideoMage_SubjectClip"].execute(toy, clip, mask).result[0].cutouts
    assert cutout.pixels.shape == (3, 1, 200, 400)
    assert cutout.pixels[:, :, 2:-2, 2:-2].min() > 0.99, "mask and clip are shrunk alike"
