"""Times compared with each other: always in one run, by turns, as a ratio."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ratio:
    """How much longer one thing takes than another.

    Attributes:
        median: of the rounds' ratios.
        low: the smallest.
        high: the largest.
        rounds: how many.
    """

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def seconds(job: Callable[[], object], device: torch.device) -> float:
    """Of one run; a GPU's work is waited for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def by_turns(jobs: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each job in each round, in an order of its own; one round before them does not count."""
    chance, names = random.Random(0), list(jobs)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds + 1):
        for name in chance.sample(names, len(names)):
            once = seconds(jobs[name], device)
            if index:
                taken[name].append(once)
    return taken


def ratio(longer: list[float], shorter: list[float]) -> Ratio:
    """Round by round."""
    ratios = [a / b for a, b in zip(longer, shorter, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), len(ratios))
