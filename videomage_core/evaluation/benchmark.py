"""Runs a grid and scores it: every method on every cell, from the same initial noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ..callbacks import Callbacks
from ..data.images import MODELS_SEE, list_images, read_image
from ..data.masks import Segmenter
from ..data.media import to_uint8
from ..model.backbone import Backbone
from ..presets import Preset
from ..training.loop import TrainingDiverged
from .grid import Cell, Grid
from .methods import METHODS, Method, sweeps
from .runner import Runner
from .scores import VideoMetrics
from .video_cache import GeneratedVideo

TABLES = ("with_motion", "no_motion", "three_subjects")  # fields of ``Results``


class Metrics(Protocol):
    """Scores a video of a cell."""

    def score(self, video: np.ndarray, cell: Cell) -> dict[str, float]:
        """By metric; one that does not apply is left out.  ``video``: uint8 [F, H, W, 3]."""


class GridMetrics:
    """Scores a grid's cells by their prompt in plain words and their subjects' images."""

    def __init__(self, grid: Grid, metrics: VideoMetrics) -> None:
        self._grid, self._metrics = grid, metrics
        self._images = {
            name: [
                to_uint8(read_image(path, min_size=MODELS_SEE).pixels[:, None])[0]
                for path in list_images(subject.folder)
            ]
            for name, subject in grid.subjects.items()
        }

    def score(self, video: np.ndarray, cell: Cell) -> dict[str, float]:
        """See ``Metrics``."""
        references = {name: self._images[name] for name in cell.subjects}
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
        with_motion: pairs that do a motion (Tables 1 and 2).
        no_motion: pairs without motion (Table 4).
        three_subjects: three subjects (Sec. 8.3).
        sweeps: by name, then by the setting's value (Table 3).
        training: seconds of each training, by its kind and what it changes, with all that it makes first.
        sample_videos: for the contact sheets: the first seed in the first place.
        failures: a sentence for each video that could not be made.
    """

    with_motion: list[Record] = field(default_factory=list)
    no_motion: list[Record] = field(default_factory=list)
    three_subjects: list[Record] = field(default_factory=list)
    sweeps: dict[str, dict[str, list[Record]]] = field(default_factory=dict)
    training: dict[str, list[float]] = field(default_factory=dict)
    sample_videos: list[GeneratedVideo] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def records_of(self, group: str, method: str) -> list[Record]:
        """The records to which a video's is added: of a table, or of a sweep's value."""
        return getattr(self, group) if group in TABLES else self.sweeps.setdefault(group, {}).setdefault(method, [])


def run_grid(
    backbone: Backbone,
    preset: Preset,
    grid: Grid,
    subset: str,
    metrics: Sequence[Metrics],
    folder: Path,
    callbacks: Callbacks,
    segmenter: Segmenter | None = None,
) -> Results:
    """Make and score all videos of one subset of a grid.

    Args:
        backbone: the base; left as it was found.
        preset: the settings that methods change.
        grid: what is asked.
        subset: one of the grid's subsets.
        metrics: what scores the videos.
        folder: keeps trainings and videos: the same call resumes.
        callbacks: progress and cancel.
        segmenter: finds performers without masks, and subjects in their LoRAs' videos; None: plain backgrounds.

    A LoRA that cannot be trained costs its videos, which are named in ``failures``; all others are made.
    """
    requested, results = grid.subset(subset), Results()
    runner = Runner(backbone, preset, grid, folder, callbacks, segmenter)
    jobs = grid_jobs(grid, subset, preset)
    for done, (group, method, cell) in enumerate(jobs):
        callbacks.check()
        records = results.records_of(group, method.name)  # there also where no video can be made
        generated = _made(runner, method, cell, results.failures)
        if generated is None:
            continue
        records.append(_scored(generated, metrics))
        if (cell.place, cell.seed) == (requested.places[0], requested.seeds[0]) and group in TABLES:
            results.sample_videos.append(generated)
        callbacks.progress(done + 1, len(jobs), "benchmark")
    for (kind, _), seconds in runner.training_seconds.items():
        results.training.setdefault(kind, []).append(seconds)
    return results


def _made(runner: Runner, method: Method, cell: Cell, failures: list[str]) -> GeneratedVideo | None:
    """A cell's video; None, and a sentence more in ``failures``, where a LoRA that it needs cannot be trained."""
    try:
        return runner.make(method, cell)
    except (ValueError, TrainingDiverged) as error:
        failures.append(f"{method.name}, {cell.name}: {error}")
        runner.callbacks.log(failures[-1])
        return None


def _scored(generated: GeneratedVideo, metrics: Sequence[Metrics]) -> Record:
    scores = {k: v for metric in metrics for k, v in metric.score(generated.video, generated.cell).items()}
    return Record(generated.method, generated.cell, scores, generated.seconds, generated.memory_mb)


def grid_jobs(grid: Grid, subset: str, preset: Preset) -> list[tuple[str, Method, Cell]]:
    """Every video of a subset: its table, one of ``TABLES``, or its sweep; its method and cell."""
    requested = grid.subset(subset)
    three_subject_methods = [name for name in requested.methods if name in THREE_SUBJECT_METHODS]
    jobs = [("with_motion", METHODS[name], cell) for name in requested.methods for cell in grid.with_motion(requested)]
    jobs += [
        ("no_motion", METHODS[name], cell) for name in requested.no_motion_methods for cell in grid.no_motion(requested)
    ]
    jobs += [
        ("three_subjects", METHODS[name], cell)
        for name in three_subject_methods
        for cell in grid.three_subjects(requested)
    ]
    for name in requested.sweeps:
        jobs += [(name, method, cell) for method in sweeps(preset)[name] for cell in grid.with_motion(requested)]
    return jobs


THREE_SUBJECT_METHODS = ("VideoMage", "without L_attn", "averaged outputs", "the base alone")
