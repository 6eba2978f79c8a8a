"""Colours tell characters apart, roughly."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.world.characters import Character
from emoji_world.world.scene import Scene, draw
from videomage_core.evaluation.colour_metrics import ColourMetrics


def stills(concept: str) -> list[np.ndarray]:
    who = Character("noto", concept)
    return [draw(Scene((who,), "standing still", place, 1), frames=1).frames[0] for place in ("plain", "beach")]


@pytest.mark.parametrize("plain_background", [True, False])
def test_a_video_shares_most_colours_with_its_own_subjects(plain_background):
    characters = (Character("noto", "frog"), Character("noto", "fox"))
    video = draw(Scene(characters, "next to", "plain", 3)).frames
    metrics = ColourMetrics(plain_background)
    own, others = (
        metrics.score(video, None, {name: stills(name) for name in names})["colours"]
        for names in (("frog", "fox"), ("pig", "penguin"))
    )
    assert 0 <= others < own <= 1


def test_a_still_video_is_steady_and_a_flickering_one_is_not():
    still = np.full((4, 8, 8, 3), 100, dtype=np.uint8)
    flickering = still.copy()
    flickering[::2] = 200
    assert ColourMetrics().score(still, None, {}) == {"steadiness": 1.0}
    assert ColourMetrics().score(flickering, None, {})["steadiness"] == pytest.approx(1 - 100 / 255)
