"""Who looks to a side: only drawings that are there, each to one side, and walkers look where they go."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.world.characters import ART, Character
from emoji_world.world.facing import FACING
from emoji_world.world.scene import Scene, draw


def test_only_drawings_that_exist_are_named():
    missing = [key for key in FACING if not (ART / key[0] / f"{key[1]}.png").is_file()]
    assert not missing
    assert set(FACING.values()) == {"left", "right"}


@pytest.mark.parametrize(
    ("character", "motion", "mirrored"),
    [
        (Character("noto", "car"), "walking to the left", False),
        (Character("noto", "car"), "walking to the right", True),
        (Character("streamline", "snail"), "walking to the right", False),
        (Character("streamline", "snail"), "walking to the left", True),
        (Character("twemoji", "cat", 3), "walking to the right", True),
    ],
)
def test_a_walker_looks_where_it_goes(character, motion, mirrored):
    drawing = draw(Scene((character,), motion, "plain", 1), frames=1)
    rows, columns = np.nonzero(drawing.masks[0][0] > 0.5)
    box = drawing.frames[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(float)
    sprite = character.sprite()
    alpha = sprite[..., 3:]
    composed = sprite[..., :3] * alpha + drawing.frames[0][0, 0] / 255 * (1 - alpha)
    ys, xs = np.nonzero(alpha[..., 0] > 0.5)
    crop = composed[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] * 255
    at = np.ix_(
        np.linspace(0, len(crop) - 1, box.shape[0]).round().astype(int),
        np.linspace(0, crop.shape[1] - 1, box.shape[1]).round().astype(int),
    )
    same, other = np.abs(crop[at] - box).mean(), np.abs(crop[at][:, ::-1] - box).mean()
    assert (other < same) == mirrored
