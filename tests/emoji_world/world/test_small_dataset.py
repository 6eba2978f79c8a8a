"""The data set: the scenes of their seeds, and captions that tell the truth."""

from __future__ import annotations

import numpy as np

from emoji_world.world.characters import Character, with_article
from emoji_world.world.scene import Scene, draw, random_scene
from emoji_world.world.small_dataset import drawn, training_caption, unknown_word, vocabulary


def test_the_stored_scenes_are_those_of_their_seeds(tmp_path):
    data = drawn(tmp_path, 5, still=False)
    again = drawn(tmp_path, 5, still=False)
    assert data.pixels.shape == (5, 8, 48, 48, 3)
    assert np.array_equal(again.pixels[3], draw(random_scene(3)).frames)
    assert again.scenes == data.scenes


def test_captions_vary_but_never_name_who_is_not_there():
    scene = Scene((Character("noto", "panda"), Character("noto", "octopus")), "chasing", "grass", 0)
    rng = np.random.default_rng(0)
    texts = [training_caption(scene, rng, still=False) for _ in range(500)]
    assert 20 < texts.count("") < 90
    assert "a panda is chasing an octopus on grass" in texts and len(set(texts)) > 10
    other = [word for word in ("dog", "cat", "beach", "night") for text in texts if word in text.split()]
    assert not other
    assert all(with_article("octopus") in t for t in texts if "octopus" in t)


def test_an_unknown_word_is_not_in_the_vocabulary():
    rng = np.random.default_rng(1)
    assert not {unknown_word(rng, "ing") for _ in range(200)} & set(vocabulary())
