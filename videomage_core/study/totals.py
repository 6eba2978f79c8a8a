"""How often the method of interest was preferred, with Wilson's 95 % intervals (Wilson 1927).

A participant answers many times, so answers are not independent: one who likes sharp videos likes them in every
cell.  The interval is Wilson's for the number of independent answers that would vary as much as the shares do from
participant to participant (Kish's effective sample size, the variance that of a ratio over clusters):

    n_eff = p (1 - p) / V,    V = m / (m - 1) * sum over participants of (x_i - p n_i)^2 / n^2,    n_eff <= n

for m participants, x_i of whose n_i answers prefer the method, p = sum x_i / n, n = sum n_i.  Where all answers
agree, V says nothing, and a participant counts as one answer.  With one participant alone answers are taken as
independent.  The interval speaks of other participants who would see these same videos, not of other videos.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import ndtri

from .answers import QUESTIONS

_Z = float(ndtri(0.975))  # of 95 %, two-sided


@dataclass(frozen=True)
class Share:
    """How often one method was preferred to another by one question.

    Attributes:
        preferred: answers for the method of interest.
        count: all answers.
        participants: who gave them.
        low, high: ends of the 95 % interval of preferred / count.
    """

    preferred: int
    count: int
    participants: int
    low: float
    high: float


def summarize(rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], dict[str, Share]]:
    """By (method, comparison) and question; rows as of ``answers.read_answers``."""
    pairs = sorted({(row["method"], row["comparison"]) for row in rows})
    return {pair: {q: _share([r for r in rows if _pair(r) == pair], q) for q in QUESTIONS} for pair in pairs}


def _pair(row: Mapping[str, str]) -> tuple[str, str]:
    return row["method"], row["comparison"]


def _share(rows: Sequence[Mapping[str, str]], question: str) -> Share:
    by_person: dict[str, list[bool]] = {}
    for row in rows:
        by_person.setdefault(row["participant"], []).append(row[question] == row["method"])
    groups = list(by_person.values())
    preferred, count = sum(map(sum, groups)), sum(map(len, groups))
    low, high = wilson(preferred / count, effective_count(groups))
    return Share(preferred, count, len(groups), low, high)


def effective_count(groups: Sequence[Sequence[bool]]) -> float:
    """How many independent answers these are worth; each group is one participant's."""
    count, people = sum(map(len, groups)), len(groups)
    p = sum(map(sum, groups)) / count
    if people == 1:
        return count
    if p in (0, 1):
        return people
    variance = people / (people - 1) * sum((sum(g) - p * len(g)) ** 2 for g in groups) / count**2
    return count if variance == 0 else min(count, p * (1 - p) / variance)


def wilson(share: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``count`` independent answers, which may be a fraction (not so in scipy)."""
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    # Rounding aside, a share of 0 or 1 is its own end.
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half


def report(rows: Sequence[Mapping[str, str]]) -> str:
    """The totals in lines for people."""
    lines = []
    for (method, other), shares in summarize(rows).items():
        first = shares[QUESTIONS[0]]
        lines.append(
            f"{method} preferred to {other} ({_plural(first.count, 'trial')}, "
            f"{_plural(first.participants, 'participant')})"
        )
        for question, share in shares.items():
            part, low, high = (f"{100 * value:.1f}" for value in (share.preferred / share.count, share.low, share.high))
            lines.append(f"  {question.replace('_', ' '):16}  {part:>5} %  ({low} to {high})")
    if not lines:
        return "no answers yet"
    lines.append("In brackets: Wilson's 95 % interval for other participants who see these same videos. It allows for")
    lines.append("one participant's answers being alike; with a single participant it takes them as independent.")
    return "\n".join(lines)


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
