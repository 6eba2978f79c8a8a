"""Runs a grid and scores it: every method on every cell, from the same start noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ..data.images import list_images, load_picture
from ..data.media import to_uint8
from ..model.backbone import Backbone
from ..presets import Preset
from ..run import Run
from .grid import Cell, Grid
from .methods import METHODS, Method, sweeps
from .runner import Made, Runner
from .scores import VideoMetrics


class Metrics(Protocol):
    """Scores a video of a cell."""

    def score(self, video: np.ndarray, cell: Cell) -> dict[str, float]:
        """By metric; one that does not apply is left out.  ``video``: uint8 [F, H, W, 3]."""


class OfCells:
    """Scores a grid's cells by their prompt in plain words and their subjects' pictures."""

    def __init__(self, grid: Grid, metrics: VideoMetrics) -> None:
        self._grid, self._metrics = grid, metrics
        self._pictures = {
            name: [to_uint8(load_picture(path).pixels[:, None])[0] for path in list_images(subject.folder)]
            for name, subject in grid.subjects.items()
        }

    def score(self, video: np.ndarray, cell: Cell) -> dict[str, float]:
        """See ``Metrics``."""
        references = {name: self._pictures[name] for name in cell.subjects}
        return self._metrics.score(video, self._grid.plain_prompt(cell), references)


@dataclass(frozen=True)
class Record:
    """One scored video."""

    method: str
    cell: Cell
    scores: Mapping[str, float]
    seconds: float
    memory_mb: float | None


@dataclass(frozen=True)
class Results:
    """What a grid gave.

    Attributes:
        performed: pairs that do a motion (Tables 1 and 2).
        still: pairs without motion (Table 4).
        crowds: three subjects (Sec. 8.3).
        sweeps: by name, then by the setting's value (Table 3).
        training: seconds of the training steps of each kind of LoRA.
        shown: videos for the sheets: the first seed in the first place.
    """

    performed: list[Record] = field(default_factory=list)
    still: list[Record] = field(default_factory=list)
    crowds: list[Record] = field(default_factory=list)
    sweeps: dict[str, dict[str, list[Record]]] = field(default_factory=dict)
    training: dict[str, list[float]] = field(default_factory=dict)
    shown: list[Made] = field(default_factory=list)


def run_grid(
    backbone: Backbone, preset: Preset, grid: Grid, size: str, metrics: Sequence[Metrics], folder: Path, run: Run
) -> Results:
    """Make and score all videos of one size of a grid.

    Args:
        backbone: the base; left as it was found.
        preset: the settings that methods change.
        grid: what is asked.
        size: one of the grid's sizes.
        metrics: what scores the videos.
        folder: keeps trainings and videos: the same call goes on where it was stopped.
        run: progress and cancel.
    """
    asked, runner, results = grid.size(size), Runner(backbone, preset, grid, folder, run), Results()
    jobs: list[tuple[Method, Cell, list[Record]]] = []
    for cells, names, kept in (
        (grid.performed(asked), asked.methods, results.performed),
        (grid.still(asked), asked.still_methods, results.still),
        (grid.crowds(asked), [name for name in asked.methods if name in CROWD_METHODS], results.crowds),
    ):
        jobs += [(METHODS[name], cell, kept) for name in names for cell in cells]
    for name in asked.sweeps:
        for method in sweeps(preset)[name]:
            kept = results.sweeps.setdefault(name, {}).setdefault(method.name, [])
            jobs += [(method, cell, kept) for cell in grid.performed(asked)]
    for done, (method, cell, kept) in enumerate(jobs):
        run.check()
        made = runner.make(method, cell)
        scores = {name: value for metric in metrics for name, value in metric.score(made.video, cell).items()}
        kept.append(Record(method.name, cell, scores, made.seconds, made.memory_mb))
        if (cell.place, cell.seed) == (asked.places[0], asked.seeds[0]) and not any(
            kept is s for v in results.sweeps.values() for s in v.values()
        ):
            results.shown.append(made)
        run.progress(done + 1, len(jobs), "benchmark")
    for (what, _), seconds in runner.training_seconds.items():
        results.training.setdefault(what.split()[0], []).append(seconds)
    return results


CROWD_METHODS = ("VideoMage", "without L_attn", "averaged outputs", "the base alone")
