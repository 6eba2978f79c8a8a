"""Who is in the world, and that the halves never mix."""

from __future__ import annotations

import pytest

from emoji_world.world.characters import (
    CONCEPTS,
    DEVELOPMENT_CONCEPTS,
    HELD_OUT_ARTIST,
    TEST_CONCEPTS,
    TRAINING_ARTISTS,
    held_out_characters,
    training_characters,
    with_article,
)
from emoji_world.world.small_motions import DEVELOPMENT_MOTIONS, HELD_OUT_PAIR, HELD_OUT_SINGLE, TEST_MOTIONS


def test_every_concept_is_drawn_by_several_artists_and_by_the_held_out_one():
    drawings = training_characters()
    assert len(CONCEPTS) >= 12
    for concept in CONCEPTS:
        assert sum(c.concept == concept for c in drawings) >= 5
    assert {c.concept for split in ("development", "test") for c in held_out_characters(split)} == set(CONCEPTS)
    assert HELD_OUT_ARTIST not in TRAINING_ARTISTS


def test_the_halves_share_nothing():
    assert not set(DEVELOPMENT_CONCEPTS) & set(TEST_CONCEPTS)
    assert not set(DEVELOPMENT_MOTIONS) & set(TEST_MOTIONS)
    assert {*DEVELOPMENT_MOTIONS, *TEST_MOTIONS} == {*HELD_OUT_SINGLE, *HELD_OUT_PAIR}
    assert len(HELD_OUT_PAIR) >= 4


def test_a_sprite_is_rgba_with_ink_and_air():
    for character in training_characters() + held_out_characters("test"):
        sprite = character.sprite()
        assert sprite.shape == (96, 96, 4)
        assert 0.2 < sprite[..., 3].mean() < 0.95


def test_an_unknown_half_is_refused():
    with pytest.raises(ValueError, match="half: got 'train', allowed: 'development', 'test'"):
        held_out_characters("train")


def test_articles():
    assert [with_article(noun) for noun in ("dog", "octopus", "empty box")] == ["a dog", "an octopus", "an empty box"]
