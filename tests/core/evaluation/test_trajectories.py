"""Two clips agree if their characters go the same ways, wherever and whoever they are."""

from __future__ import annotations

import numpy as np

from emoji_world.world.characters import training_characters
from emoji_world.world.scene import Scene, draw
from videomage_core.evaluation.tracking import Track, track_from_masks
from videomage_core.evaluation.trajectories import FRAMES, agreement, trajectory, trajectory_agreement


def tracks(motion: str, seed: int, who: tuple[int, int] = (0, 9)) -> list[Track]:
    cast = training_characters()
    drawing = draw(Scene((cast[who[0]], cast[who[1]]), motion, "plain", seed))
    return [track_from_masks(mask > 0.5) for mask in drawing.masks]


def test_a_clip_agrees_with_itself_and_with_its_mirror_image():
    observed = tracks("riding", 3)
    mirrored = [track_from_masks(np.ascontiguousarray(t.masks[:, :, ::-1])) for t in observed]
    for other in (observed, mirrored):
        agreed = agreement(other, observed)
        assert np.isclose(agreed.placement, 1, atol=1e-6) and np.isclose(agreed.movement, 1, atol=1e-6)
    assert trajectory(observed).ndim == 1


def test_the_same_motion_of_others_agrees_more_than_another_motion():
    reference = tracks("riding", 3)

    def both(motion: str) -> float:
        agreed = [agreement(tracks(motion, seed, (4, 17)), reference) for seed in range(6)]
        return float(np.mean([one.placement + one.movement for one in agreed])) / 2

    same = both("riding")
    for motion in ("next to", "walking away from", "chasing", "dancing with"):
        assert same > 0.6 and same > both(motion) + 0.2, motion


def test_who_stands_as_in_the_clip_and_does_not_move_is_placed_but_moves_not():
    for motion in ("riding", "dancing with"):
        observed = tracks(motion, 3)
        still = [track_from_masks(np.repeat(t.masks[:1], len(t.masks), axis=0)) for t in observed]
        agreed = agreement(still, observed)
        assert abs(agreed.movement) < 1e-9 and agreed.placement > 0.9, motion


def test_half_the_way_is_less_alike():
    observed = trajectory(tracks("riding", 3))
    split = observed.copy()
    split[2 * FRAMES :] /= 2
    agreed = trajectory_agreement(split, observed)
    assert np.isclose(agreed.movement, 0.8) and np.isclose(agreed.placement, 1)
    assert np.isclose(trajectory_agreement(observed / 2, observed).placement, 0.8)


def test_who_stands_still_is_not_placed_as_they_are_who_circle():
    reference = tracks("circling around", 3)
    still = [track_from_masks(np.repeat(t.masks[:1], len(t.masks), axis=0)) for t in reference]
    assert agreement(still, reference).placement < 0.4


def test_roles_count():
    reference = tracks("riding", 3)
    assert agreement(reference[::-1], reference).placement < 0
