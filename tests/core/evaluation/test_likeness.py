"""A drawn character is most like its own pictures, and who is who is found out."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.world.characters import Character
from emoji_world.world.scene import Scene, draw
from videomage_core.evaluation import mobilenet
from videomage_core.evaluation.likeness import likeness, reference_features


@pytest.fixture(autouse=True)
def weights() -> None:
    try:
        mobilenet.weights_path()
    except ImportError as error:
        pytest.skip(str(error))


def picture(artist: str, concept: str, seed: int = 0) -> np.ndarray:
    return draw(Scene((Character(artist, concept),), "standing still", "plain", seed), frames=1).frames[0]


def test_true_renders_are_nearest_to_their_own_pictures_in_either_order():
    own = {name: [picture("noto", name, seed) for seed in range(3)] for name in ("dog", "panda")}
    rivals = {name: [picture(artist, name) for artist in ("twemoji", "emojione")] for name in own}
    looks = reference_features(own, rivals)
    for first, second in (("dog", "panda"), ("panda", "dog")):
        drawing = draw(Scene((Character("noto", first), Character("noto", second)), "next to", "grass", 8))
        found, tracks = likeness(drawing.frames, looks)
        assert all(found[name].rank == 1 and found[name].of == 3 for name in own)
        assert all(found[name].similarity > 0.5 for name in own)
        for name, track in zip(own, tracks, strict=True):
            true = drawing.masks[(first, second).index(name)] > 0.5
            assert (true & track.masks).sum() > 0.7 * true.sum()
    others, _ = likeness(
        draw(Scene((Character("twemoji", "dog"), Character("twemoji", "panda")), "next to", "grass", 8)).frames, looks
    )
    assert all(others[name].rank > 1 for name in own)


def test_a_picture_without_a_character_is_refused():
    with pytest.raises(ValueError, match="no character stands out"):
        reference_features({"dog": [np.full((48, 48, 3), 200, dtype=np.uint8)]}, {"dog": [picture("noto", "dog")]})
