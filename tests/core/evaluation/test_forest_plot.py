"""Each line stands where its numbers are, in its verdict's colour."""

from __future__ import annotations

import numpy as np
import pytest

from videomage_core.evaluation.forest_plot import COLOURS, LABEL, PAD, PLOT, ROW, Comparison, _ticks, forest_plot
from videomage_core.evaluation.statistics import Estimate


def line(mean: float, split: float, word: str, clusters: int = 6) -> Comparison:
    difference = Estimate(mean, mean - split, mean + split, 12, clusters, split / 2)
    return Comparison(f"{word} by {mean}", difference, word, word)


def coloured(image, row: int, colour: tuple[int, int, int]) -> np.ndarray:
    """Columns of the plot that have the colour in the middle of a line."""
    middle = np.asarray(image)[int(ROW * (row + 1.5)), LABEL : LABEL + PLOT]
    return np.flatnonzero((middle == colour).all(-1))


def test_bars_stand_where_their_numbers_are():
    image = forest_plot([line(0.2, 0.1, "significant"), line(-0.3, 0.1, "contradicted")], "against", "for")
    zero, split = PLOT / 2, PLOT / 2 - PAD
    for row, (low, high, word) in enumerate([(0.1, 0.3, "significant"), (-0.4, -0.2, "contradicted")]):
        columns = coloured(image, row, COLOURS[word])
        assert columns.min() == pytest.approx(zero + split * low / 0.42, abs=2)
        assert columns.max() == pytest.approx(zero + split * high / 0.42, abs=2)
    assert not len(coloured(image, 0, COLOURS["contradicted"]))


def test_a_range_is_dotted():
    whole = forest_plot([line(0.2, 0.1, "significant")], "against", "for")
    dotted = forest_plot([line(0.2, 0.1, "significant", clusters=2)], "against", "for")
    ours = COLOURS["significant"]
    assert len(coloured(dotted, 0, ours)) < len(coloured(whole, 0, ours))


def test_long_labels_are_cut_and_ticks_are_round():
    short, long = (Comparison("w" * n, line(0.1, 0.1, "inconclusive").difference, "a", "b") for n in (4, 400))
    assert forest_plot([long], "", "").size == forest_plot([short], "", "").size
    assert _ticks(0.42) == [-0.4, -0.2, 0, 0.2, 0.4] and _ticks(1.05) == [-1, -0.5, 0, 0.5, 1]
    for reach in (0.003, 0.05, 0.99, 7.0, 10.0):
        assert 3 <= len(_ticks(reach)) <= 9 and max(_ticks(reach)) <= reach
