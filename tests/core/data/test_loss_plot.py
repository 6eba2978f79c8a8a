from __future__ import annotations

import math

import numpy as np

from videomage_core.data.loss_plot import COLOURS, HEIGHT, WIDTH, loss_plot, smooth, thinned


def test_a_falling_loss_falls_on_the_plot():
    image = np.asarray(loss_plot({"loss": [10.0 ** (-step / 50) for step in range(100)]})).astype(int)
    assert image.shape == (HEIGHT, WIDTH, 3)
    line = (np.abs(image - COLOURS[0]).sum(-1) < 30) & (np.arange(HEIGHT)[:, None] > 40)
    columns = np.flatnonzero(line.any(0))
    heights = [np.flatnonzero(line[:, x]).mean() for x in columns]
    assert columns.max() - columns.min() > WIDTH / 2 and heights[-1] > heights[0] + HEIGHT / 3


def test_each_term_has_its_colour():
    image = np.asarray(loss_plot({"a": [1.0, 2.0, 1.0], "b": [0.1, 0.2, 0.1]})).astype(int)
    assert all((np.abs(image - colour).sum(-1) < 30).any() for colour in COLOURS[:2])


def test_nothing_zero_and_infinite_values_are_plotted_too():
    for losses in ({}, {"loss": []}, {"loss": [0.0, math.nan, math.inf]}, {"loss": [1.0]}):
        assert loss_plot(losses).size == (WIDTH, HEIGHT)


def test_smooth_is_the_mean_of_a_tenth():
    values = [float(v) for v in range(40)]
    assert smooth(values)[10] == (7 + 8 + 9 + 10) / 4 and smooth(values)[0] == 0 and smooth([]) == []


def test_thinned_keeps_the_mean_and_few_values():
    values = [float(v) for v in range(1200)]
    few = thinned(values)
    assert len(few) == 300 and few[0] == 1.5
    assert thinned([1.0, 2.0]) == [1.0, 2.0]
