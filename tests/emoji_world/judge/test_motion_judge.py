"""The motion judge names true motions, and notices when time is out of order."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.judge.motion_judge import DIRECTED, MotionJudge, trajectory
from emoji_world.world.characters import Character
from emoji_world.world.motions import CONVERSE
from emoji_world.world.scene import Scene, draw
from emoji_world.world.small_motions import PAIR, TRAINED_PAIR, TRAINED_SINGLE
from emoji_world.world.worlds import RICH
from videomage_core.evaluation.tracking import Track, match, track

DOG, CAT = Character("noto", "dog"), Character("twemoji", "cat")
REVERSED = {
    "walking to the left": "walking to the right",
    "rising": "falling",
    "growing": "shrinking",
    "walking towards": "walking away from",
}


@pytest.fixture(scope="module")
def judge() -> MotionJudge:
    return MotionJudge(renders=12)


def tracked(motion: str, seed: int) -> list[Track]:
    cast = (DOG, CAT) if motion in PAIR else (DOG,)
    return track(draw(Scene(cast, motion, "grass", seed)).frames, len(cast))


@pytest.mark.parametrize("motion", [*TRAINED_SINGLE, *TRAINED_PAIR])
def test_true_motions_are_named(judge: MotionJudge, motion: str) -> None:
    assert [judge.name(tracked(motion, seed)) for seed in (31, 32)] == [motion] * 2


@pytest.mark.parametrize("motion", REVERSED)
def test_a_clip_backwards_is_the_opposite_motion(judge: MotionJudge, motion: str) -> None:
    cast = (DOG, CAT) if motion in PAIR else (DOG,)
    backwards = draw(Scene(cast, motion, "grass", 33)).frames[::-1].copy()
    assert judge.name(track(backwards, len(cast))) == REVERSED[motion]


def test_shuffled_frames_are_further_from_every_motion_that_moves(judge: MotionJudge) -> None:
    frames = draw(Scene((DOG,), "walking to the left", "grass", 34)).frames
    shuffled = frames[[3, 7, 0, 5, 1, 6, 2, 4]]
    ordered, disordered = judge.distances(track(frames, 1)), judge.distances(track(shuffled, 1))
    assert disordered["walking to the left"] > 3 * ordered["walking to the left"]


@pytest.mark.parametrize("motion", [m for m in TRAINED_PAIR if m in DIRECTED])
def test_roles_are_found_whatever_the_order_of_the_tracks(judge: MotionJudge, motion: str) -> None:
    tracks = tracked(motion, 35)
    forth, back = judge.in_order(tracks, motion), judge.in_order(tracks[::-1], motion)
    assert all(one is other for one, other in zip(forth, back, strict=True))


def test_a_way_does_not_depend_on_the_number_of_frames() -> None:
    scene = Scene((DOG,), "walking to the right", "plain", 36)
    ways = [trajectory(track(draw(scene, frames=frames).frames, 1)) for frames in (8, 22)]
    assert np.linalg.norm(ways[0] - ways[1]) < 0.03


def test_unknown_motions_are_named_with_the_known_ones(judge: MotionJudge) -> None:
    with pytest.raises(ValueError, match="motion: got 'riding', allowed: 'next to'"):
        judge.in_order(tracked("next to", 37), "riding")


@pytest.fixture(scope="module")
def rich_judge() -> MotionJudge:
    return MotionJudge(renders=10, world=RICH)


@pytest.mark.parametrize("motion", RICH.interactions)
def test_the_rich_worlds_interactions_are_named_and_roles_found(rich_judge: MotionJudge, motion: str) -> None:
    drawing = draw(Scene((DOG, CAT), motion, "grass", 38), frames=9)
    tracks = match(track(drawing.frames, 2), [np.stack([path.x, path.y], axis=1) * 48 for path in drawing.paths])
    assert rich_judge.name(tracks[::-1]) == CONVERSE.get(motion, motion)
    if motion in DIRECTED:
        for given in (tracks, tracks[::-1]):
            assert all(one is other for one, other in zip(rich_judge.in_order(given, motion), tracks, strict=True))
