"""The halves share nothing with each other or with the training data."""

from __future__ import annotations

from emoji_world.cast import training_characters
from emoji_world.halves import DEVELOPMENT, TEST
from emoji_world.motions import TRAINED_PAIR, TRAINED_SINGLE


def test_the_halves_share_nothing():
    for part in ("characters", "motions", "interactions", "seeds"):
        assert not set(getattr(DEVELOPMENT, part)) & set(getattr(TEST, part))


def test_each_half_is_enough_to_measure_on_and_unseen():
    for half in (DEVELOPMENT, TEST):
        assert len(half.characters) == 6 and len(half.interactions) == 2 and len(half.motions) == 1
        assert not set(half.characters) & set(training_characters())
        assert not {*half.motions, *half.interactions} & {*TRAINED_SINGLE, *TRAINED_PAIR}
        assert min(half.seeds) > 40_000, "the base is trained on the seeds from 0"
