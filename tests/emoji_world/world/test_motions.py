"""The rich world's interactions: each role has its own way, nothing held out is among them."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.judge.motion_judge import DIRECTED
from emoji_world.world import small_motions as small
from emoji_world.world.motions import PAIR, SINGLE, STILL_PAIRS

TIMES = np.linspace(0, 1, 9)


def paths(name, seed=0):
    return PAIR[name](np.random.default_rng(seed), TIMES)


def test_held_out_motions_stay_held_out():
    assert not set(SINGLE) & set(small.HELD_OUT_SINGLE) and not set(PAIR) & set(small.HELD_OUT_PAIR)
    assert set(small.TRAINED_SINGLE) == set(SINGLE) and set(small.TRAINED_PAIR) < set(PAIR)
    assert set(STILL_PAIRS) < set(PAIR)


@pytest.mark.parametrize(("name", "other"), [("under", "on top of"), ("running from", "chasing")])
def test_told_by_the_other_one_the_roles_are_swapped(name, other):
    for mine, theirs in zip(paths(name, 3), paths(other, 3)[::-1], strict=True):
        assert np.array_equal(mine.x, theirs.x) and np.array_equal(mine.y, theirs.y)
        assert mine.heading == theirs.heading


@pytest.mark.parametrize("seed", range(5))
def test_the_first_bumps_and_the_second_is_knocked_away(seed):
    first, second = paths("bumping into", seed)
    assert np.ptp(second.x[:5]) == 0 and np.ptp(first.x[4:]) == pytest.approx(0)
    way = np.sign(first.x[4] - first.x[0])
    assert np.sign(second.x[-1] - second.x[4]) == way and first.heading == ("right" if way > 0 else "left")
    gaps = np.abs(first.x - second.x)
    assert gaps.argmin() == 4 and gaps[4] < (first.size[4] + second.size[4]) / 2


@pytest.mark.parametrize("seed", range(5))
def test_the_first_lands_on_the_second_and_lifts_it(seed):
    first, second = paths("landing on", seed)
    assert first.y[0] < first.y[-1] < second.y[-1] and np.ptp(second.y) == 0
    below, above = paths("lifting", seed)
    assert above.y[-1] < above.y[0] < below.y[0] and np.ptp(below.y) == 0


@pytest.mark.parametrize("name", PAIR)
@pytest.mark.parametrize("seed", range(5))
def test_centres_stay_in_the_frame(name, seed):
    for path in paths(name, seed):
        assert all(0.05 < value < 0.95 for way in (path.x, path.y) for value in way)


def test_roles_that_differ_are_judged():
    assert set(PAIR) - set(DIRECTED) == {"next to", "walking towards", "walking away from"}
