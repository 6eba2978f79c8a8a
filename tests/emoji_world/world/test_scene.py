"""The little world: the same from the same seed, exact masks and paths, held-out parts kept out."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.world.backgrounds import BACKGROUNDS
from emoji_world.world.characters import Character, training_characters
from emoji_world.world.scene import Scene, caption, draw, random_scene
from emoji_world.world.small_motions import HELD_OUT_PAIR, HELD_OUT_SINGLE, PAIR, SINGLE

PANDA, ROBOT = Character("noto", "panda"), Character("twemoji", "robot")


def test_a_scene_is_drawn_the_same_each_time():
    one, two = draw(random_scene(5)), draw(random_scene(5))
    assert np.array_equal(one.frames, two.frames)
    assert one.frames.shape == (8, 48, 48, 3) and one.frames.dtype == np.uint8
    assert not np.array_equal(one.frames, draw(random_scene(6)).frames)


@pytest.mark.parametrize("motion", SINGLE)
def test_the_mask_lies_on_the_path(motion):
    drawing = draw(Scene((PANDA,), motion, "plain", 3))
    grid = (np.arange(48) + 0.5) / 48
    for f in range(8):
        mask = drawing.masks[0][f]
        x, y = (mask * grid).sum() / mask.sum(), (mask * grid[:, None]).sum() / mask.sum()
        inside = 0.25 < drawing.paths[0].x[f] < 0.75 and 0.3 < drawing.paths[0].y[f] < 0.7
        if inside:  # at the border the mask is cut off
            assert abs(x - drawing.paths[0].x[f]) < 0.04
            assert abs(y - drawing.paths[0].y[f]) < 0.04


@pytest.mark.parametrize("motion", PAIR)
def test_covered_pixels_leave_the_covered_mask(motion):
    drawing = draw(Scene((PANDA, ROBOT), motion, "grass", 4))
    first, second = drawing.masks
    assert (first + second).max() <= 1 + 1e-5
    assert min(first.max(), second.max()) > 0.9


def test_pixels_outside_all_masks_are_the_background():
    with_panda, alone = draw(Scene((PANDA,), "jumping", "grass", 9)), draw(Scene((), "", "grass", 9))
    outside = with_panda.masks[0] == 0
    assert np.array_equal(with_panda.frames[outside], alone.frames[outside])


def test_one_frame_is_the_middle_of_the_motion():
    still, clip = draw(Scene((PANDA,), "rising", "snow", 2), frames=1), draw(Scene((PANDA,), "rising", "snow", 2), 9)
    assert np.array_equal(still.frames[0], clip.frames[4])


def test_training_scenes_hold_nothing_that_is_held_out():
    cast, held_out = set(training_characters()), {*HELD_OUT_SINGLE, *HELD_OUT_PAIR}
    scenes = [random_scene(seed, still) for seed in range(400) for still in (False, True)]
    assert all(set(scene.characters) <= cast and scene.motion not in held_out for scene in scenes)
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    assert {c for scene in scenes for c in scene.characters} == cast


def test_captions_are_plain_english():
    assert caption(("dog", "octopus"), "chasing", "grass") == "a dog is chasing an octopus on grass"
    assert caption(("octopus",), "jumping", None) == "an octopus is jumping"
    assert Scene((), "", "night", 0).caption == "an empty scene at night"


@pytest.mark.parametrize(
    ("characters", "motion", "background", "message"),
    [
        ((PANDA,), "chasing", "grass", "motion: got 'chasing', allowed with 1 characters: 'standing still'"),
        ((PANDA, ROBOT), "jumping", "grass", "motion: got 'jumping', allowed with 2 characters"),
        ((PANDA,), "jumping", "moon", "background: got 'moon', allowed: grass"),
        ((PANDA,) * 3, "jumping", "grass", "characters: got 3, allowed: 0, 1 or 2"),
    ],
)
def test_scenes_that_cannot_be_drawn_are_refused(characters, motion, background, message):
    with pytest.raises(ValueError, match=message):
        Scene(characters, motion, background, 0)
