"""The card's measures: IoU is what it says, and its scenes are held out."""

from __future__ import annotations

import torch

from emoji_world.fixtures.fit_sam2 import HELD_OUT
from emoji_world.reports import segmentation_report as card
from emoji_world.world.characters import HELD_OUT_ARTIST
from emoji_world.world.scene import draw


def test_iou():
    a = torch.zeros(3, 4, 4, dtype=torch.bool)
    b = a.clone()
    a[0, :2], b[0, 1:3] = True, True
    a[1, 0, 0] = True
    assert torch.allclose(card.iou(a, b), torch.tensor([1 / 3, 0.0, 1.0]))


def test_scenes_are_held_out_and_everybody_is_seen_at_first():
    for new in (False, True):
        for subjects in (1, 2):
            for scene, drawing in card.held_out_scenes(3, subjects, new):
                assert scene.seed > HELD_OUT and len(drawing.masks) == subjects
                assert (scene.characters[0].artist == HELD_OUT_ARTIST) == new
                assert all((mask[0] > 0.5).mean() > 0.01 for mask in drawing.masks)


def test_perfect_masks_score_one():
    class True_:
        """Gives back the masks of the scene it is asked about."""

        def follow(self, pixels, start, boxes, seen):
            return card.true_masks(self.drawing)

    knows = True_()

    def scenes():
        for scene, drawing in card.held_out_scenes(2, 2, False):
            knows.drawing = drawing
            yield scene, drawing

    assert card.from_boxes(knows, scenes()) == {
        "subjects": 4,
        "first frame": 1,
        "all frames": 1,
        "last frame": 1,
        "share over 0.5": 1,
    }


def test_pixels_are_the_drawings():
    scene, drawing = next(card.held_out_scenes(1, 1, False))
    pixels = card.pixels_of(drawing)
    assert pixels.shape == (3, card.FRAMES, card.SIDE, card.SIDE) and float(pixels.abs().max()) <= 1
    again = draw(scene, card.FRAMES, card.SIDE)
    assert torch.equal(pixels, card.pixels_of(again))
