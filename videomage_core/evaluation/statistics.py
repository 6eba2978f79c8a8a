"""Means with bootstrap intervals.  Whole clusters are drawn: videos of the same subjects are not independent."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

DRAWS = 10_000
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval.

    Attributes:
        mean: over all values.
        low, high: ends of the percentile bootstrap's interval.
        count: of values.
        clusters: that they come from.
    """

    mean: float
    low: float
    high: float
    count: int
    clusters: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def estimate(values: Sequence[float], clusters: Sequence[Hashable], seed: int = 0) -> Estimate:
    """The mean of values, with a bootstrap over clusters (Efron 1979, percentile interval).

    Args:
        values: N of them, at least one.
        clusters: what each belongs to; with one cluster alone, values are drawn one by one.
        seed: of the draws.
    """
    if not len(values) or len(values) != len(clusters):
        raise ValueError(f"values: got {len(values)} with {len(clusters)} clusters, give as many, and at least one")
    groups: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        groups.setdefault(cluster, []).append(value)
    parts = list(groups.values()) if len(groups) > 1 else [[value] for value in values]
    sums, counts = np.array([sum(part) for part in parts]), np.array([len(part) for part in parts])
    drawn = np.random.default_rng(seed).integers(len(parts), size=(DRAWS, len(parts)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(np.mean(values)), float(low), float(high), len(values), len(groups))


def paired(first: Mapping[Key, float], second: Mapping[Key, float], cluster_of: Callable[[Key], Hashable]) -> Estimate:
    """The mean of ``first`` minus ``second``, over what both have.

    Args:
        first: value by cell.
        second: another method's, of the same cells.
        cluster_of: what a cell belongs to.
    """
    both = [cell for cell in first if cell in second]
    return estimate([first[cell] - second[cell] for cell in both], [cluster_of(cell) for cell in both])
