"""The judge says of true renders what they show, and does not believe a wrong caption."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.judge.judge import Expected, Judge, Rate, Scores, Verdict, character_crops
from emoji_world.world.backgrounds import BACKGROUNDS
from emoji_world.world.characters import CONCEPTS, HELD_OUT_ARTIST, Character
from emoji_world.world.scene import Scene, draw
from videomage_core.evaluation import mobilenet
from videomage_core.evaluation.tracking import track

PLACES = list(BACKGROUNDS)


@pytest.fixture(scope="module")
def judge() -> Judge:
    try:
        mobilenet.weights_path()
    except ImportError as error:
        pytest.skip(str(error))
    return Judge(clips=2, motion_renders=10)


def single(concept: str, seed: int, artist: str = "noto") -> Scene:
    return Scene((Character(artist, concept),), "standing still", PLACES[seed % len(PLACES)], seed)


def seen(scene: Scene) -> np.ndarray:
    return draw(scene).frames


def test_every_concept_is_named(judge: Judge) -> None:
    scenes = [single(concept, 41 + index) for index, concept in enumerate(CONCEPTS)]
    scores = judge.score(np.stack([seen(s) for s in scenes]), [Expected.of(s) for s in scenes])
    assert scores.rate("subjects", 1).share >= 0.8  # chance: 1 in 12
    assert scores.rate("motion").share >= 0.9 and scores.rate("background").share == 1


def test_pairs_are_named_with_their_roles(judge: Judge) -> None:
    robot, panda = Character("noto", "robot"), Character("noto", "panda")
    for motion in ("on top of", "chasing"):
        scene = Scene((robot, panda), motion, "grass", 42)
        right = judge.judge(seen(scene), Expected.of(scene))
        assert right.subjects_right and right.roles_right and right.motion_right and right.background_right
        swapped = judge.judge(seen(scene), Expected(("panda", "robot"), motion, "grass"))
        assert swapped.subjects_right and not swapped.roles_right


def test_a_wrong_caption_is_not_believed(judge: Judge) -> None:
    scene = single("frog", 43)
    verdict = judge.judge(seen(scene), Expected(("octopus",), "jumping", PLACES[(43 + 1) % len(PLACES)]))
    assert not (verdict.subjects_right or verdict.motion_right or verdict.background_right)
    noise = np.random.default_rng(0).integers(0, 256, (8, 48, 48, 3)).astype(np.uint8)
    assert not judge.judge(noise, Expected.of(scene)).background_right


def test_an_empty_scene_shows_nothing(judge: Judge) -> None:
    empty = seen(Scene((), "", "beach", 44))
    assert judge.judge(empty, Expected(("dog",), "standing still", "beach")).names == ("nothing",)


def test_a_held_out_drawing_is_known_as_itself_but_not_used_for_naming(judge: Judge) -> None:
    robot = Character(HELD_OUT_ARTIST, "robot")
    video = seen(Scene((robot,), "standing still", "grass", 45))
    pictures = character_crops(video, track(video, 1)[0])
    own, other = judge.identity(pictures, robot), judge.identity(pictures, Character("noto", "robot"))
    assert own.rank == 1 and own.of == 6 and own.similarity > other.similarity
    assert max(judge.similarities(pictures).values()) < own.similarity
    with pytest.raises(ValueError, match="pictures: got none"):
        judge.identity(pictures[:0], robot)


def test_an_artist_left_out_of_the_bank_is_still_named_above_chance(judge: Judge) -> None:
    assert judge.names_unseen_artists().interval[0] > 0.5


def test_a_rate_counts_and_its_interval_is_wilsons() -> None:
    expected = Expected(("dog",), "rising", "grass")
    scores = Scores([Verdict(expected, (name,), "rising", "night") for name in ("dog", "dog", "cat")])
    assert scores.rate("subjects") == Rate(2, 3) and scores.rate("subjects", 2) == Rate(0, 0)
    assert scores.rate("motion").share == 1 and scores.rate("background").right == 0
    assert Rate(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=2e-4)  # Newcombe 1998, Table I
    with pytest.raises(ValueError, match="aspect: got 'colour', allowed: 'subjects', 'roles'"):
        scores.rate("colour")
