"""Runs a grid and scores it: every method on every cell, from the same start noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ..data.images import list_images, load_picture
from ..data.masks import Segmenter
from ..data.media import to_uint8
from ..model.backbone import Backbone
from ..presets import Preset
from ..run import Run
from ..training import TrainingDiverged
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
        training: seconds of each training, by its kind and what it changes, with all that it makes first.
        shown: videos for the sheets: the first seed in the first place.
        failures: a sentence for each video that could not be made.
    """

    performed: list[Record] = field(default_factory=list)
    still: list[Record] = field(default_factory=list)
    crowds: list[Record] = field(default_factory=list)
    sweeps: dict[str, dict[str, list[Record]]] = field(default_factory=dict)
    training: dict[str, list[float]] = field(default_factory=dict)
    shown: list[Made] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def run_grid(
    backbone: Backbone,
    preset: Preset,
    grid: Grid,
    size: str,
    metrics: Sequence[Metrics],
    folder: Path,
    run: Run,
    segmenter: Segmenter | None = None,
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
        segmenter: finds performers without masks, and subjects in their LoRAs' videos; None: plain backgrounds.

    A LoRA that cannot be trained costs its videos, which are named in ``failures``; all others are made.
    """
    asked, runner, results = grid.size(size), Runner(backbone, preset, grid, folder, run, segmenter), Results()
    tables = {"performed": results.performed, "still": results.still, "crowds": results.crowds}
    jobs = asked_for(grid, size, preset)
    for done, (group, method, cell) in enumerate(jobs):
        swept = group not in tables
        kept = results.sweeps.setdefault(group, {}).setdefault(method.name, []) if swept else tables[group]
        run.check()
        try:
            made = runner.make(method, cell)
        except (ValueError, TrainingDiverged) as error:
            results.failures.append(f"{method.name}, {cell.name}: {error}")
            run.log(results.failures[-1])
            continue
        scores = {name: value for metric in metrics for name, value in metric.score(made.video, cell).items()}
        kept.append(Record(method.name, cell, scores, made.seconds, made.memory_mb))
        if (cell.place, cell.seed) == (asked.places[0], asked.seeds[0]) and not swept:
            results.shown.append(made)
        run.progress(done + 1, len(jobs), "benchmark")
    for (kind, _), seconds in runner.training_seconds.items():
        results.training.setdefault(kind, []).append(seconds)
    return results


def asked_for(grid: Grid, size: str, preset: Preset) -> list[tuple[str, Method, Cell]]:
    """Every video of one size of a grid: its table ("performed", "still", "crowds") or sweep, method and cell."""
    asked = grid.size(size)
    crowd_methods = [name for name in asked.methods if name in CROWD_METHODS]
    jobs = [("performed", METHODS[name], cell) for name in asked.methods for cell in grid.performed(asked)]
    jobs += [("still", METHODS[name], cell) for name in asked.still_methods for cell in grid.still(asked)]
    jobs += [("crowds", METHODS[name], cell) for name in crowd_methods for cell in grid.crowds(asked)]
    for name in asked.sweeps:
        jobs += [(name, method, cell) for method in sweeps(preset)[name] for cell in grid.performed(asked)]
    return jobs


CROWD_METHODS = ("VideoMage", "without L_attn", "averaged outputs", "the base alone")
