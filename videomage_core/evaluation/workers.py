"""A benchmark's trainings and videos made ahead by several processes, with Ray; ``run_grid`` then finds them.

Each worker has a base of its own, on a GPU of its own where there are some.  What depends on something else comes in a
later round: first the subjects and motions, then the fusions, then the videos.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..callbacks import Callbacks
from ..presets import Preset
from .benchmark import grid_jobs
from .grid import Cell, Grid
from .methods import Method
from .runner import Runner

Task = tuple[str, Method, Cell | None, Any]  # what is made, by which method's settings, for which cell, of what


def task_rounds(grid: Grid, subset: str, preset: Preset) -> list[list[Task]]:
    """All that a subset of a grid needs, each thing once, in rounds that depend on those before alone."""
    inverted: dict[Hashable, Task] = {}
    trained: dict[Hashable, Task] = {}
    fused: dict[Hashable, Task] = {}
    videos: dict[Hashable, Task] = {}
    for _, method, cell in grid_jobs(grid, subset, preset):
        settings = method.settings(preset)
        for name in cell.subjects:
            trained.setdefault(("subject", name, repr(settings.subject)), ("subject", method, None, name))
        if cell.motion is not None:
            inverted.setdefault((cell.motion, repr(settings.sampling)), ("inverted", method, None, cell.motion))
            if method.combine != "base":
                trained.setdefault(
                    ("motion", cell.motion, repr(settings.motion)), ("motion", method, None, cell.motion)
                )
        if method.combine in ("scs", "merged"):
            key = (cell.subjects, repr(settings.subject), repr(settings.fusion))
            fused.setdefault(key, ("fusion", method, None, cell.subjects))
        videos.setdefault((method.combine, repr(settings), cell), ("video", method, cell, None))
    return [list(tasks.values()) for tasks in (inverted, trained, fused, videos)]


class Worker:
    """What one process does.

    Args:
        runner: builds its runner.
        threads: of PyTorch.
    """

    def __init__(self, runner: Callable[[], Runner], threads: int) -> None:
        torch.set_num_threads(threads)
        self._runner = runner()

    def do(self, task: Task) -> str:
        """Make one thing; what went wrong, or nothing: ``run_grid`` meets it again and names it."""
        what, method, cell, of = task
        runner = self._runner
        try:
            if cell is not None:
                runner.make(method, cell)
            else:
                getattr(runner, what)(of, method.settings(runner.preset))
        except Exception as error:
            return f"{what} {of or ''}: {error}"
        return ""


def precompute(
    workers: int,
    runner: Callable[[], Runner],
    grid: Grid,
    subset: str,
    preset: Preset,
    work: Path,
    callbacks: Callbacks,
) -> None:
    """Make everything that ``run_grid`` will ask for, ``workers`` things at a time.

    Args:
        workers: how many processes, at least 2.
        runner: builds a worker's runner, in its process; it must be picklable.
        grid: what is asked.
        subset: one of the grid's subsets.
        preset: the settings that methods change.
        work: where the runners keep things; made here.
        callbacks: progress and cancel.

    Raises:
        ValueError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError("--workers: more than 1 needs Ray; pip install ray, or leave it out") from error
    from ray.util import ActorPool

    work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    gpus = torch.cuda.device_count()
    ray.init(num_cpus=workers, num_gpus=gpus, include_dashboard=False, log_to_driver=False)
    try:
        actors = _actors(ray, workers, gpus, runner)
        for tasks in task_rounds(grid, subset, preset):
            _one_round(ActorPool(actors), tasks, callbacks)
    finally:
        ray.shutdown()


def _actors(ray: Any, workers: int, gpus: int, runner: Callable[[], Runner]) -> list[Any]:
    """Workers that share processors and GPUs."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    actor = ray.remote(num_cpus=1, num_gpus=gpus // workers if gpus >= workers else gpus / workers)(Worker)
    return [actor.remote(runner, threads) for _ in range(workers)]


def _one_round(pool: Any, tasks: Sequence[Task], callbacks: Callbacks) -> None:
    done = pool.map_unordered(lambda actor, task: actor.do.remote(task), tasks)
    for index, problem in enumerate(done):
        callbacks.check()
        if problem:
            callbacks.log(problem)
        callbacks.progress(index + 1, len(tasks), f"making ahead: {tasks[0][0]}")
