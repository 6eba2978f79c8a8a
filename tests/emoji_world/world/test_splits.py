"""The rich world's halves: they never mix, and agree with the small world's."""

from __future__ import annotations

from emoji_world.world import small_splits as small
from emoji_world.world.splits import DEVELOPMENT, TEST
from emoji_world.world.worlds import RICH


def test_the_halves_share_nothing_and_are_not_trained_on():
    for attribute in ("characters", "motions", "interactions", "seeds"):
        assert not set(getattr(DEVELOPMENT, attribute)) & set(getattr(TEST, attribute))
    assert not {*DEVELOPMENT.characters, *TEST.characters} & set(RICH.training_characters())
    assert not {c.concept for c in DEVELOPMENT.characters} & {c.concept for c in TEST.characters}


def test_the_small_worlds_halves_are_inside():
    assert set(small.DEVELOPMENT.characters) < set(DEVELOPMENT.characters)
    assert set(small.TEST.characters) < set(TEST.characters)
    assert not set(small.TEST.characters) & set(DEVELOPMENT.characters)
    assert (DEVELOPMENT.motions, TEST.interactions) == (small.DEVELOPMENT.motions, small.TEST.interactions)
