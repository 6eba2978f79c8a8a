"""Captions: many phrasings of what is there, with roles as they are, and words that mean nothing now and then."""

from __future__ import annotations

import re

import numpy as np
import pytest

from emoji_world.world.backgrounds import PLACES
from emoji_world.world.captions import PLACE_PHRASES, PRESENT, training_caption, vocabulary
from emoji_world.world.characters import Character
from emoji_world.world.motions import PAIR, SINGLE
from emoji_world.world.sampler import random_scene
from emoji_world.world.scene import Scene
from emoji_world.world.small_motions import HELD_OUT_PAIR, HELD_OUT_SINGLE
from emoji_world.world.worlds import RICH

PANDA, CAR = Character("noto", "panda"), Character("noto", "car")


def texts(scene, count=600, still=False):
    rng = np.random.default_rng(0)
    return [training_caption(scene, rng, still) for _ in range(count)]


def test_one_in_ten_is_dropped():
    assert texts(Scene((PANDA,), "jumping", "grass", 0), 2000).count("") == pytest.approx(200, abs=50)


def test_phrasings_are_many_and_the_prompts_own_is_common():
    phrasings = texts(Scene((PANDA, CAR), "chasing", "grass", 0))
    assert len(set(phrasings)) > 60
    assert phrasings.count("a panda is chasing a car on grass") > 60
    for phrase in ("a panda chases a car on grass", "on grass a panda is chasing a car"):
        assert phrase in phrasings


@pytest.mark.parametrize("motion", sorted(set(PAIR) - {"next to"}))
def test_the_first_noun_is_the_first_character(motion):
    for text in texts(Scene((PANDA, CAR), motion, "snow", 0)):
        nouns = re.findall(r"\b(panda|car)\b", text)
        assert nouns in (["panda", "car"], ["panda"], ["car"], []), text
        assert not text or nouns == [] or re.search(f"{motion}|{PRESENT[motion]}|ing ", text), text


def test_next_to_has_no_order():
    both = [text for text in texts(Scene((PANDA, CAR), "next to", "snow", 0)) if "panda" in text and "car" in text]
    assert any(text.index("panda") < text.index("car") for text in both)
    assert any(text.index("panda") > text.index("car") for text in both)


def test_a_painted_character_keeps_its_colour_in_every_phrasing():
    phrasings = [text for text in texts(Scene((PANDA, CAR), "lifting", "snow", 0, colours=("blue", None))) if text]
    assert all(text.count("blue") == 1 for text in phrasings)
    assert "a blue panda is lifting a car in the snow" in phrasings


def test_general_and_unknown_words_come_now_and_then():
    known = set(vocabulary())
    phrasings = " ".join(texts(Scene((PANDA,), "jumping", "grass", 0), 2000))
    assert "an animal" in phrasings and "a character" in phrasings
    unknown = [word for word in re.findall("[a-z]+", phrasings) if word not in known]
    assert 100 < len(unknown) < 500


def test_the_vocabulary_has_all_words_but_those_without_meaning_and_none_held_out():
    words = set(vocabulary())
    assert set(RICH.concepts) <= words and {",", ".", ":"} <= words
    held_out = {word for motion in (*HELD_OUT_SINGLE, *HELD_OUT_PAIR) for word in motion.split() if word[-3:] == "ing"}
    assert held_out == {"zigzagging", "looping", "riding", "dancing", "jumping", "circling"}
    assert not (held_out - {"jumping"}) & words
    scenes = [random_scene(seed, still) for seed in range(200) for still in (False, True)]
    for scene in scenes:
        assert set(scene.caption.split()) <= words


def test_every_place_and_motion_has_its_words():
    assert set(PRESENT) == {*SINGLE, *PAIR}
    assert {name: phrases[0] for name, phrases in PLACE_PHRASES.items()} == PLACES
