"""Named colours: the hue of the name, light and dark kept."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from emoji_world.world.characters import Character
from emoji_world.world.colours import COLOURS, recoloured
from emoji_world.world.scene import Scene, draw


@pytest.mark.parametrize("colour", COLOURS)
def test_every_pixel_has_the_hue_of_the_name(colour):
    rng = np.random.default_rng(0)
    sprite = rng.random((4, 5, 4)).astype(np.float32)
    painted = recoloured(sprite, colour)
    for red, green, blue in painted[..., :3].reshape(-1, 3):
        hue, saturation, _ = colorsys.rgb_to_hsv(red, green, blue)
        assert abs((hue * 360 - COLOURS[colour][0] + 180) % 360 - 180) < 1
        assert saturation > 0.4
    assert np.array_equal(painted[..., 3], sprite[..., 3])


def test_black_stays_black_and_brighter_stays_brighter():
    grey = np.linspace(0, 1, 6, dtype=np.float32)
    sprite = np.repeat(grey[None, :, None], 4, axis=2)
    painted = recoloured(sprite, "blue")[0, :, :3]
    assert not painted[0].any() and (np.diff(painted.sum(-1)) > 0).all()


def test_an_unknown_colour_is_refused():
    with pytest.raises(ValueError, match="colour: got 'beige', allowed: red, orange"):
        recoloured(np.ones((2, 2, 4), np.float32), "beige")


def test_a_painted_scene_says_so_and_looks_so():
    panda, cat = Character("noto", "panda"), Character("noto", "cat")
    scene = Scene((panda, cat), "chasing", "plain", 1, colours=("blue", None))
    assert scene.caption == "a blue panda is chasing a cat on a plain background"
    painted, own = draw(scene), draw(Scene((panda, cat), "chasing", "plain", 1))
    only_cat = (painted.masks[1] > 0) & (painted.masks[0] == 0)
    assert np.array_equal(painted.frames[only_cat], own.frames[only_cat])
    on_panda = painted.masks[0] > 0.9
    assert painted.frames[on_panda].mean(0)[2] > painted.frames[on_panda].mean(0)[0] + 40


@pytest.mark.parametrize(
    ("colours", "message"),
    [(("blue",), "colours: got 1 for 2 characters"), (("blue", "beige"), "colours: got 'beige', allowed: None, red")],
)
def test_colours_that_cannot_be_painted_are_refused(colours, message):
    with pytest.raises(ValueError, match=message):
        Scene((Character("noto", "panda"), Character("noto", "cat")), "chasing", "plain", 1, colours=colours)
