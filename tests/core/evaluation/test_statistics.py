"""Intervals are wide where values of a group hang together."""

from __future__ import annotations

import numpy as np
import pytest

from videomage_core.evaluation.statistics import estimate, paired, shared_members, student


def test_the_interval_of_independent_values_is_the_textbooks():
    values = np.random.default_rng(1).normal(5, 2, 400)
    interval = estimate(list(values), list(range(400)))
    split = 1.966 * values.std(ddof=1) / 20
    assert interval.mean == pytest.approx(values.mean())
    assert interval.high - interval.mean == pytest.approx(split, rel=1e-3)
    assert interval.mean - interval.low == pytest.approx(split, rel=1e-3)
    assert (interval.count, interval.clusters) == (400, 400)


@pytest.mark.parametrize(("freedom", "quantile"), [(3, 3.182), (5, 2.571), (7, 2.365), (30, 2.042), (1000, 1.962)])
def test_students_quantiles_are_the_tables(freedom, quantile):
    assert student(freedom) == pytest.approx(quantile, abs=6e-4)


def test_six_groups_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        interval = estimate(list(rng.normal(0, 1, 6)), list(range(6)))
        held += interval.low <= 0 <= interval.high
    assert 0.935 < held / 2000 < 0.965


def test_equal_values_in_a_group_count_once():
    means = np.random.default_rng(2).normal(0, 1, 8)
    values, clusters = np.repeat(means, 50), np.repeat(np.arange(8), 50)
    together, apart = estimate(list(values), list(clusters)), estimate(list(values), list(range(400)))
    assert together.high - together.low > 4 * (apart.high - apart.low)


def test_few_groups_give_a_range_and_no_interval():
    two = estimate([1, 2, 5, 6], ["a", "a", "b", "b"])
    assert (two.mean, two.low, two.high, two.is_interval) == (3.5, 1.5, 5.5, False)
    assert "range" in str(two)
    one = estimate([1, 2, 6], ["a"] * 3)
    assert (one.low, one.high, one.is_interval) == (1, 6, False)


def test_a_paired_difference_cancels_what_cells_share():
    rng = np.random.default_rng(3)
    hard = {cell: float(rng.normal(0, 10)) for cell in range(30)}
    better = {cell: value + 1 + float(rng.normal(0, 0.1)) for cell, value in hard.items()}
    interval = paired(better, hard, lambda cell: cell % 6)
    assert 0.85 < interval.low < interval.high < 1.15
    better.pop(0)
    assert paired(better, hard, lambda cell: cell % 6).count == 29


def test_nothing_is_no_estimate():
    with pytest.raises(ValueError, match="got 0 with 0 clusters"):
        estimate([], [])


RING = [("a", "b"), ("c", "d"), ("e", "f"), ("b", "c"), ("d", "e"), ("f", "a")]


def test_pairs_round_a_ring_hold_the_truth_although_they_share_subjects():
    assert shared_members(RING) == pytest.approx(2.5) and shared_members(RING[:3]) == shared_members([1, 2, 3, 4]) == 1
    assert shared_members(RING[:1]) == shared_members([("a", "b"), ("b", "a")]) == 1
    rng, held, naive = np.random.default_rng(4), 0, 0
    for _ in range(2000):
        part = dict(zip("abcdef", rng.normal(0, 1, 6), strict=True))
        interval = estimate([part[one] + part[other] for one, other in RING], RING)
        held += interval.low <= 0 <= interval.high
        naive += abs(interval.mean) <= (interval.high - interval.mean) / 2.5**0.5
    assert naive / 2000 < 0.85 and held / 2000 > 0.92


def test_the_same_groups_have_an_interval_of_their_own():
    rng, held, far = np.random.default_rng(5), 0, np.arange(6) * 10
    for _ in range(1000):
        values = far[:, None] + rng.normal(0, 1, (6, 4))
        interval = estimate(list(values.ravel()), list(np.repeat(np.arange(6), 4)))
        assert interval.within is not None
        held += abs(interval.mean - far.mean()) <= interval.within
    assert 0.93 < held / 1000 < 0.97
    assert estimate([1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4]).within is None
    assert estimate([1.0, 2.0, 3.0], [1, 1, 1]).within is None, "too few to say"
    equal = estimate([1.0] * 12, [i % 4 for i in range(12)])
    assert equal.within is None and equal.sign_here == 0, "values that never differ say nothing of others"


@pytest.mark.parametrize("rate", [0.05, 0.3])
@pytest.mark.parametrize("alike", [3.0, 1000.0])
def test_a_rates_interval_holds_the_truth_and_never_leaves_its_bounds(rate, alike):
    """Six groups of twelve, whose rates differ much or hardly; Student's holds 0.05 in 66 to 86 % of such samples."""
    rng, held, clusters = np.random.default_rng(6), 0, list(np.repeat(np.arange(6), 12))
    for _ in range(400):
        rates = np.repeat(rng.beta(rate * alike, (1 - rate) * alike, 6), 12)
        interval = estimate(list(rng.binomial(1, rates).astype(float)), clusters, (0, 1))
        assert 0 <= interval.low <= interval.mean <= interval.high <= 1
        held += interval.low <= rate <= interval.high
    assert held / 400 > 0.92


def test_bounds_far_away_change_nothing():
    values, clusters = list(np.random.default_rng(7).normal(0.5, 0.02, 40)), [i % 8 for i in range(40)]
    plain, bounded = estimate(values, clusters), estimate(values, clusters, (-100, 101))
    assert (bounded.low, bounded.high) == (pytest.approx(plain.low, abs=1e-4), pytest.approx(plain.high, abs=1e-4))


def test_where_all_groups_agree_each_counts_as_one_value():
    interval = estimate([1.0] * 24, [i % 6 for i in range(24)], (0, 1))
    assert interval.high == 1 and interval.low == pytest.approx(6 / (6 + student(5) ** 2))
