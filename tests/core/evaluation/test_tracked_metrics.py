"""Each metric tells a right scene from a wrong one, on a small grid; docs/metrics.md has the figures."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.world.characters import Character
from emoji_world.world.scene import Scene, draw
from tests.core.evaluation.small_grid import WHO, write_small_grid
from videomage_core.evaluation import mobilenet
from videomage_core.evaluation.grid import Cell, load_grid
from videomage_core.evaluation.tracked_metrics import METRICS, TrackedMetrics, temporal_consistency

CELL = Cell(("rex", "po"), "riding", "grass", 3)
REX, PO = WHO["rex"], WHO["po"]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    try:
        mobilenet.weights_path()
    except ImportError as error:
        pytest.skip(str(error))
    return TrackedMetrics(load_grid(write_small_grid(tmp_path_factory.mktemp("grid"))))


def scene(first: Character, second: Character, motion: str = "riding", place: str = "grass") -> np.ndarray:
    return draw(Scene((first, second), motion, place, 8)).frames


def test_a_right_scene_scores_well_in_everything(metrics):
    scores = metrics.score(scene(REX, PO), CELL)
    assert list(scores) == list(METRICS)
    assert scores["nearest of its class"] == 1 and scores["text alignment"] == 1
    assert scores["identity"] > 0.4 and scores["placement"] > 0.95 and scores["motion fidelity"] > 0.8
    assert scores["appearance leakage"] == 0 and scores["attribute mixing"] == 0


@pytest.mark.parametrize(
    ("metric", "wrong"),
    [
        ("identity", lambda: scene(Character("twemoji", "dog"), Character("twemoji", "panda"))),
        ("nearest of its class", lambda: scene(Character("twemoji", "dog"), Character("twemoji", "panda"))),
        ("text alignment", lambda: scene(REX, Character("twemoji", "fox"))),
        ("text alignment", lambda: scene(REX, PO, place="night")),
        ("text alignment", lambda: scene(REX, PO, motion="next to")),
        ("motion fidelity", lambda: scene(REX, PO, motion="next to")),
        ("motion fidelity", lambda: scene(REX, PO)[:1].repeat(8, 0)),
        ("placement", lambda: scene(REX, PO, motion="next to")),
        ("placement", lambda: scene(PO, REX)),
        ("appearance leakage", lambda: scene(Character("noto", "pig"), Character("noto", "cat"))),
        ("attribute mixing", lambda: scene(REX, REX)),
    ],
)
def test_a_wrong_scene_scores_worse_in_its_metric(metrics, metric, wrong):
    right, other = metrics.score(scene(REX, PO), CELL)[metric], metrics.score(wrong(), CELL)[metric]
    assert right > other if METRICS[metric] else right < other


def test_who_looks_like_anybody_is_no_leakage(metrics):
    """Other drawings are unlike the subjects, but no more like the performers than like strangers."""
    others = metrics.score(scene(Character("twemoji", "fox"), Character("twemoji", "robot")), CELL)
    performers = metrics.score(scene(Character("noto", "pig"), Character("noto", "cat")), CELL)
    assert others["appearance leakage"] == 0 and performers["appearance leakage"] == 1


def test_without_a_motion_motion_is_not_measured(metrics):
    scores = metrics.score(scene(REX, PO, motion="next to"), Cell(("rex", "po"), None, "grass", 3))
    assert "motion fidelity" not in scores and "appearance leakage" not in scores
    assert scores["text alignment"] == 1


def test_an_empty_video_is_nobody(metrics):
    scores = metrics.score(np.full((8, 48, 48, 3), 90, dtype=np.uint8), CELL)
    right = metrics.score(scene(*WHO.values()), CELL)
    assert scores["identity"] < 0 < right["identity"] and scores["text alignment"] < 0.5
    failed = {"nearest of its class": 0, "appearance leakage": 0, "attribute mixing": 1}
    assert {name: scores[name] for name in failed} == failed, "nobody is nobody's best, and no performer either"
    assert scores["temporal consistency"] == pytest.approx(1, abs=1e-4)


def test_flicker_is_inconsistent(metrics):
    steady = scene(REX, PO)
    flickering = steady.copy()
    flickering[::2] //= 3
    assert temporal_consistency(flickering) < temporal_consistency(steady) - 0.05
