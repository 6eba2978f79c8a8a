"""Two workers make what one process makes."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.core.evaluation.small_grid import write_small_grid
from tests.core.test_demo import SHORT
from videomage_core.callbacks import Callbacks
from videomage_core.evaluation.benchmark import grid_jobs, run_grid
from videomage_core.evaluation.grid import Grid, load_grid
from videomage_core.evaluation.runner import Runner
from videomage_core.evaluation.workers import precompute, task_rounds
from videomage_core.model.loading import load_unet3d


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return load_grid(write_small_grid(tmp_path_factory.mktemp("grid")))


def test_the_rounds_hold_each_thing_once_and_what_it_needs_before(grid):
    inverted, trained, fused, videos = task_rounds(grid, "quick", SHORT)
    assert [task[3] for task in inverted] == ["riding"]
    assert sorted((task[0], task[3]) for task in trained) == [
        ("motion", "riding"),
        ("subject", "po"),
        ("subject", "rex"),
    ]
    assert [task[3] for task in fused] == [("rex", "po")]
    jobs = grid_jobs(grid, "quick", SHORT)
    assert {(task[1].combine, task[2]) for task in videos} == {(method.combine, cell) for _, method, cell in jobs}
    assert len(videos) < len(jobs), "a sweep's usual value is the method itself"


class Videos:
    """Keeps what it is asked to score."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def score(self, video, cell):
        self.seen.append(video)
        return {"number": float(len(self.seen))}


def build(grid: Grid, work: Path) -> Runner:
    return Runner(load_unet3d(dtype="fp32", device="cpu"), SHORT, grid, work, Callbacks(log=lambda _: None))


def test_two_workers_make_the_same_videos(emoji_base, grid, tmp_path):
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        lines: list[str] = []
        callbacks = Callbacks(
            progress=lambda done, total, what: lines.append(f"{what} {done}/{total}"), log=lines.append
        )
        ahead, alone = Videos(), Videos()
        precompute(2, partial(build, grid, tmp_path / "two"), grid, "quick", SHORT, tmp_path / "two", callbacks)
        assert lines[-1].startswith("making ahead: video") and len(lines) > 8
        trained: list[str] = []
        run_grid(emoji_base, SHORT, grid, "quick", [ahead], tmp_path / "two", Callbacks(log=trained.append))
        assert not trained, "all was there"
        run_grid(emoji_base, SHORT, grid, "quick", [alone], tmp_path / "one", Callbacks(log=lambda _: None))
    finally:
        torch.set_num_threads(before)
    assert len(ahead.seen) == len(alone.seen) > 6
    for one, two in zip(ahead.seen, alone.seen, strict=True):
        assert np.abs(one.astype(int) - two.astype(int)).max() <= 1


def test_without_ray_it_says_what_to_install(grid, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match="--workers: more than 1 needs Ray; pip install ray"):
        precompute(2, partial(build, grid, tmp_path), grid, "quick", SHORT, tmp_path, Callbacks())
