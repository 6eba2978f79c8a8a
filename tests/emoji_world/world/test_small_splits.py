"""The halves share nothing with each other or with the training data."""

from __future__ import annotations

from emoji_world.world.characters import training_characters
from emoji_world.world.small_motions import TRAINED_PAIR, TRAINED_SINGLE
from emoji_world.world.small_splits import DEVELOPMENT, TEST


def test_the_halves_share_nothing():
    for part in ("characters", "motions", "interactions", "seeds"):
        assert not set(getattr(DEVELOPMENT, part)) & set(getattr(TEST, part))


def test_each_half_is_enough_to_measure_on_and_unseen():
    for split in (DEVELOPMENT, TEST):
        assert len(split.characters) == 6 and len(split.interactions) == 2 and len(split.motions) == 1
        assert not set(split.characters) & set(training_characters())
        assert not {*split.motions, *split.interactions} & {*TRAINED_SINGLE, *TRAINED_PAIR}
        assert min(split.seeds) > 40_000, "the base is trained on the seeds from 0"
