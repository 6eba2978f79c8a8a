"""Two clips agree if their characters go the same ways, wherever and whoever they are."""

from __future__ import annotations

import numpy as np

from emoji_world.cast import training_characters
from emoji_world.scene import Scene, draw
from videomage_core.evaluation.tracking import Track, measured
from videomage_core.evaluation.ways import agreement, way


def tracks(motion: str, seed: int, who: tuple[int, int] = (0, 9)) -> list[Track]:
    cast = training_characters()
    drawing = draw(Scene((cast[who[0]], cast[who[1]]), motion, "plain", seed))
    return [measured(mask > 0.5) for mask in drawing.masks]


def test_a_clip_agrees_with_itself_and_with_its_mirror_image():
    shown = tracks("riding", 3)
    assert np.isclose(agreement(shown, shown), 1)
    mirrored = [measured(np.ascontiguousarray(t.masks[:, :, ::-1])) for t in shown]
    assert np.isclose(agreement(mirrored, shown), 1, atol=1e-6)
    assert way(shown).ndim == 1


def test_the_same_motion_of_others_agrees_more_than_another_motion():
    reference = tracks("riding", 3)
    same = np.mean([agreement(tracks("riding", seed, (4, 17)), reference) for seed in range(6)])
    for motion in ("next to", "walking away from", "chasing", "dancing with"):
        other = np.mean([agreement(tracks(motion, seed, (4, 17)), reference) for seed in range(6)])
        assert same > 0.8 and same > other + 0.2, motion


def test_roles_count():
    reference = tracks("riding", 3)
    assert agreement(reference[::-1], reference) < 0
