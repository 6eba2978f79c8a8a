"""Means with 95 % intervals over groups: videos of the same subjects are not independent, so each group counts once.

The intervals are Student's, over the groups' means.  A bootstrap that draws whole groups, as is often used, is too
narrow for few of them: with six normal groups it held the truth in 85 % of 3 000 simulations, Student's in 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

LEAST = 4  # groups that an interval needs
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A mean and how sure it is.

    Attributes:
        mean: over all values.
        low, high: ends of the 95 % interval; with fewer than LEAST groups the lowest and the highest mean of a group
            (of one group: value).
        count: of values.
        clusters: groups that they come from.
    """

    mean: float
    low: float
    high: float
    count: int
    clusters: int

    @property
    def is_interval(self) -> bool:
        """Whether low and high are an interval, and not only what was seen."""
        return self.clusters >= LEAST

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.ends('.3f')})"

    def ends(self, form: str) -> str:
        """Low and high in words."""
        return f"{'' if self.is_interval else 'range '}{self.low:{form}} to {self.high:{form}}"


def estimate(values: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """The mean of values with Student's interval over the means of their groups.

    Args:
        values: N of them, at least one.
        clusters: the group of each.
    """
    if not len(values) or len(values) != len(clusters):
        raise ValueError(f"values: got {len(values)} with {len(clusters)} clusters, give as many, and at least one")
    groups: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        groups.setdefault(cluster, []).append(value)
    mean, count = float(np.mean(values)), len(groups)
    means = np.array([np.mean(part) for part in groups.values()] if count > 1 else values)
    if count < LEAST:
        return Estimate(mean, float(means.min()), float(means.max()), len(values), count)
    half = student(count - 1) * float(means.std(ddof=1)) / count**0.5
    return Estimate(mean, mean - half, mean + half, len(values), count)


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to 1 % from 3 degrees of freedom on (Abramowitz and Stegun, 26.7.5)."""
    z, v = 1.959964, freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / v ** (power + 1) for power, term in enumerate(terms))


def paired(first: Mapping[Key, float], second: Mapping[Key, float], cluster_of: Callable[[Key], Hashable]) -> Estimate:
    """The mean of ``first`` minus ``second``, over what both have.

    Args:
        first: value by cell.
        second: another method's, of the same cells.
        cluster_of: the group a cell belongs to.
    """
    both = [cell for cell in first if cell in second]
    return estimate([first[cell] - second[cell] for cell in both], [cluster_of(cell) for cell in both])
