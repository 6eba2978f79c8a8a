"""Intervals are wide where values of a cluster hang together."""

from __future__ import annotations

import numpy as np
import pytest

from videomage_core.evaluation.statistics import estimate, paired


def test_the_interval_of_independent_values_is_the_textbooks():
    values = np.random.default_rng(1).normal(5, 2, 400)
    found = estimate(list(values), list(range(400)))
    half = 1.96 * values.std(ddof=1) / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.mean - found.low == pytest.approx(half, rel=0.1)
    assert (found.count, found.clusters) == (400, 400)


def test_equal_values_in_a_cluster_count_once():
    means = np.random.default_rng(2).normal(0, 1, 8)
    values, clusters = np.repeat(means, 50), np.repeat(np.arange(8), 50)
    together, apart = estimate(list(values), list(clusters)), estimate(list(values), list(range(400)))
    assert together.high - together.low > 4 * (apart.high - apart.low)


def test_a_paired_difference_cancels_what_cells_share():
    rng = np.random.default_rng(3)
    hard = {cell: float(rng.normal(0, 10)) for cell in range(30)}
    better = {cell: value + 1 + float(rng.normal(0, 0.1)) for cell, value in hard.items()}
    found = paired(better, hard, lambda cell: cell % 6)
    assert 0.9 < found.low < found.high < 1.1
    better.pop(0)
    assert paired(better, hard, lambda cell: cell % 6).count == 29


def test_nothing_is_no_estimate():
    with pytest.raises(ValueError, match="got 0 with 0 clusters"):
        estimate([], [])
