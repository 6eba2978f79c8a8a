"""The worlds: the small one is as it was, the rich one holds more, and halves never mix."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emoji_world.world.characters import held_out_characters, training_characters
from emoji_world.world.worlds import RICH, SMALL, part_of


def test_the_small_world_is_that_of_the_cast():
    assert list(SMALL.training_characters()) == training_characters()
    for split in ("development", "test"):
        assert list(SMALL.held_out_characters(split)) == held_out_characters(split)


def test_the_rich_world_is_rich():
    training = RICH.training_characters()
    held_out = {*RICH.held_out_characters("development"), *RICH.held_out_characters("test")}
    assert len(RICH.concepts) >= 40 and len(training) + len(held_out) >= 400
    assert {character.concept for character in held_out} == set(RICH.concepts)
    for concept in RICH.concepts:
        assert len({c.artist for c in training if c.concept == concept}) >= 3
    assert set(RICH.kinds.values()) == {"animal", "toy", "vehicle", "fruit", "plant"}


def test_nothing_held_out_is_trained_and_halves_share_nothing():
    development, test = RICH.held_out_characters("development"), RICH.held_out_characters("test")
    assert {c.artist for c in (*development, *test)} == {RICH.held_out_artist}
    assert RICH.held_out_artist not in {c.artist for c in RICH.training_characters()}
    assert not {c.concept for c in development} & {c.concept for c in test}
    assert abs(len(development) - len(test)) < 10


def test_a_concept_is_in_the_same_half_of_both_worlds():
    assert set(SMALL.development_concepts) <= set(RICH.development_concepts)
    assert set(SMALL.test_concepts) <= set(RICH.test_concepts)


def test_an_artist_may_draw_a_concept_more_than_once():
    numbers = {c.number for c in RICH.drawings(("twemoji",), ("cat",))}
    assert numbers == {1, 2, 3}
    assert {c.number for c in SMALL.drawings(("twemoji",), ("cat",))} == {1}


def test_all_sprites_have_ink_and_air():
    for character in RICH.drawings((*RICH.training_artists, RICH.held_out_artist)):
        sprite = character.sprite()
        assert sprite.shape == (96, 96, 4)
        assert 0.15 < sprite[..., 3].mean() < 0.97, character


def test_a_part_of_a_world_keeps_its_halves():
    part = part_of(RICH, ("cat", "dog", "car"), first_drawings=True)
    assert part.concepts == ("cat", "dog", "car") and {c.number for c in part.training_characters()} == {1}
    assert part.development_concepts == ("dog", "car") and part.test_concepts == ("cat",)
    assert part_of(RICH) == RICH
    with pytest.raises(ValueError, match="concepts: got wombat, allowed: dog, cat"):
        part_of(RICH, ("dog", "wombat"))


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="concepts: dog must be in exactly one of the halves"):
        replace(SMALL, test_concepts=(*SMALL.test_concepts, "dog"))
    with pytest.raises(ValueError, match="held_out_artist: got 'noto', which is in training_artists"):
        replace(SMALL, held_out_artist="noto")
    with pytest.raises(ValueError, match="half: got 'train', allowed: 'development', 'test'"):
        RICH.held_out_characters("train")
