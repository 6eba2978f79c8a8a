"""Shares and their intervals."""

from __future__ import annotations

import random

import pytest

from videomage_core.study.answers import QUESTIONS
from videomage_core.study.totals import effective_count, report, summarize, wilson


def row(participant: str, cell: str, wins: bool, other: str = "Merged") -> dict[str, str]:
    said = dict.fromkeys(QUESTIONS, "VideoMage" if wins else other)
    return {"participant": participant, "cell": cell, "method": "VideoMage", "comparison": other, **said}


def test_wilson_solves_its_own_equation():
    """Its ends are where |share - p| = z * sqrt(p (1 - p) / n)."""
    for share, count in ((0.7, 30), (0.5, 4), (0.05, 200)):
        for end in wilson(share, count):
            assert abs(share - end) == pytest.approx(1.959964 * (end * (1 - end) / count) ** 0.5)
    assert wilson(1.0, 25) == (pytest.approx(25 / (25 + 1.959964**2)), 1.0)
    assert wilson(0.0, 25)[0] == 0.0


def test_answers_are_worth_as_many_as_they_are_independent():
    alike = [[True] * 10, [False] * 10, [True] * 10, [False] * 10]
    assert effective_count(alike) == pytest.approx(3)  # four people, one answer each, less the mean's
    assert effective_count([[True, False]] * 5) == 10  # everybody's share is the same: no fewer than they are
    assert effective_count([[True] * 6, [True] * 2]) == 2
    assert effective_count([[True, False, True]]) == 3
    draw = random.Random(0)
    coins = [[draw.random() < 0.5 for _ in range(20)] for _ in range(300)]
    assert 4800 < effective_count(coins) <= 6000


def test_intervals_hold_for_new_participants():
    """Of studies with people who differ much, about 95 % have the true share inside; without clustering far fewer."""
    draw, held, naive = random.Random(1), 0, 0
    for _ in range(400):
        groups = []
        for _ in range(25):
            taste = draw.betavariate(1.2, 0.8)  # mean 0.6
            groups.append([draw.random() < taste for _ in range(12)])
        share, count = sum(map(sum, groups)) / 300, effective_count(groups)
        low, high = wilson(share, count)
        held += low <= 0.6 <= high
        low, high = wilson(share, 300)
        naive += low <= 0.6 <= high
    assert held / 400 > 0.92
    assert naive / 400 < 0.75


def test_totals_by_question_and_comparison():
    rows = [row("ann", "a", True), row("ann", "b", True), row("bob", "a", False), row("bob", "b", True)]
    rows.append({**row("bob", "a", True, "Averaged"), "video_quality": "Averaged"})
    found = summarize(rows)
    assert list(found) == [("VideoMage", "Averaged"), ("VideoMage", "Merged")]
    share = found["VideoMage", "Merged"]["motion_fidelity"]
    assert (share.preferred, share.count, share.participants) == (3, 4, 2)
    assert 0 < share.low < 0.75 < share.high < 1
    text = report(rows)
    assert "VideoMage preferred to Merged (4 trials, 2 participants)" in text
    assert "VideoMage preferred to Averaged (1 trial, 1 participant)" in text
    assert "video quality       0.0 %" in text and "motion fidelity    75.0 %" in text
    assert report([]) == "no answers yet"
