"""The rich world's scenes: balanced by construction, a function of the seed, nothing held out."""

from __future__ import annotations

from collections import Counter

import pytest

from emoji_world.world.backgrounds import BACKGROUNDS
from emoji_world.world.motions import PAIR, SINGLE, STILL_PAIRS
from emoji_world.world.sampler import CLIP_MOTIONS, STILL_MOTIONS, dealt, random_scene
from emoji_world.world.worlds import RICH


def test_a_deck_is_dealt_once_before_any_card_comes_again():
    deck = "abcdefg"
    runs = ["".join(dealt(deck, seed, 1) for seed in range(start, start + 7)) for start in range(0, 70, 7)]
    assert all(sorted(run) == list(deck) for run in runs) and len(set(runs)) > 5
    assert [dealt(deck, seed, 1) for seed in range(7)] != [dealt(deck, seed, 2) for seed in range(7)]


def test_a_scene_is_a_function_of_its_seed():
    assert [random_scene(seed) for seed in range(50)] == [random_scene(seed) for seed in range(50)]
    assert random_scene(3) != random_scene(4) and random_scene(3) != random_scene(3, still=True)


def test_every_motion_of_clips_is_as_often_as_any_other_and_pairs_are_most():
    scenes = [random_scene(seed) for seed in range(len(CLIP_MOTIONS) * 4)]
    counts = Counter(scene.motion for scene in scenes)
    assert {counts[motion] for motion in (*SINGLE, *PAIR)} == {8}
    assert sum(len(scene.characters) == 2 for scene in scenes) / len(scenes) > 0.5


def test_stills_show_only_what_one_frame_can_show():
    scenes = [random_scene(seed, still=True) for seed in range(len(STILL_MOTIONS) * 100)]
    counts = Counter(scene.motion for scene in scenes)
    assert set(counts) == {"standing still", *STILL_PAIRS, ""}
    assert max(counts[m] for m in STILL_PAIRS) - min(counts[m] for m in STILL_PAIRS) < 10


def test_no_concept_is_in_a_role_more_often_than_another():
    scenes = [random_scene(seed) for seed in range(54 * 37)]  # whole decks of concepts and of motions
    first = Counter(scene.characters[0].concept for scene in scenes if scene.characters)
    second = Counter(scene.characters[1].concept for scene in scenes if len(scene.characters) == 2)
    assert set(first) == set(second) == set(RICH.concepts)
    assert min(first.values()) >= 30 and max(first.values()) == 37  # 37 decks, less the empty scenes
    expected = 37 * 20 / 37  # of 37 scenes, 20 are pairs
    assert all(abs(count - expected) < 4 * 3.1 for count in second.values())  # binomial: a deviation of 3.1


def test_nothing_held_out_is_shown_and_all_else_is():
    scenes = [random_scene(seed, still) for seed in range(3000) for still in (False, True)]
    drawn = {character for scene in scenes for character in scene.characters}
    assert drawn == set(RICH.training_characters())
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)


def test_a_seventh_of_the_characters_is_painted():
    painted = [colour for seed in range(1000) for colour in random_scene(seed).painted]
    assert sum(colour is not None for colour in painted) / len(painted) == pytest.approx(0.15, abs=0.03)
