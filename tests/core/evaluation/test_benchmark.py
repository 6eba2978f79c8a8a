"""A small benchmark from trainings to report, and again from what was kept."""

from __future__ import annotations

import dataclasses
import json
import time

import numpy as np
import pytest
import torch

from tests.core.evaluation.small_grid import write_small_grid
from tests.core.test_demo import SHORT
from videomage_core.cache_key import cache_key
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.cli import main
from videomage_core.data.media import load_clip
from videomage_core.evaluation.benchmark import run_grid
from videomage_core.evaluation.grid import Cell, load_grid
from videomage_core.evaluation.memory import peak_memory
from videomage_core.evaluation.methods import FULL, METHODS
from videomage_core.evaluation.report import log_run, write_report
from videomage_core.evaluation.runner import Runner
from videomage_core.evaluation.study_folder import require_new, write_study
from videomage_core.study.trials import load_study

MORE_IS_BETTER = {"brightness": True}


class Brightness:
    """A metric that needs no network."""

    def score(self, video: np.ndarray, cell: Cell) -> dict[str, float]:
        assert video.dtype == np.uint8 and video.shape == (8, 48, 48, 3)
        return {"brightness": float(video.mean())}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return load_grid(write_small_grid(tmp_path_factory.mktemp("grid")))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def test_every_method_makes_every_cell_and_nothing_twice(emoji_base, grid, work, tmp_path):
    results = run_grid(emoji_base, SHORT, grid, "quick", [Brightness()], work, Callbacks())
    methods = ["VideoMage", "without SCS", "averaged outputs", "composed effects", "the base alone"]
    assert [r.method for r in results.with_motion] == methods
    assert [r.method for r in results.no_motion] == ["VideoMage", "the base alone"]
    assert len(results.sweeps["alpha"]) == 3 and not results.three_subjects
    assert {kind: len(seconds) for kind, seconds in results.training.items()} == {
        "subject": 2,
        "fusion": 1,
        "motion": 1,
    }
    assert len({r.scores["brightness"] for r in results.with_motion}) == 5, "each method makes another video"
    swept = [records[0].scores for records in results.sweeps["alpha"].values()]
    assert swept[1] == results.with_motion[0].scores, "the preset's own alpha gives the full method's video"

    said: list[str] = []
    again = run_grid(emoji_base, SHORT, grid, "quick", [Brightness()], work, Callbacks(log=said.append))
    assert not said, "nothing is trained or made again"
    assert [r.scores for r in again.with_motion] == [r.scores for r in results.with_motion]
    assert [r.seconds for r in again.with_motion] == [r.seconds for r in results.with_motion]

    about = {"date": "2026-01-01", "size": "quick", "reason": "a test"}
    results.sweeps["lambda1"] = {"lambda1 0.1": [], "lambda1 0.25": []}  # neither could be trained
    log_run(about, tmp_path)
    for last in (False, True):  # without sweeps, then with them
        written = write_report(
            results, grid, MORE_IS_BETTER, {"brightness": "how bright"}, about, tmp_path, finished=last
        )
        text, figures = written.read_text(), json.loads((tmp_path / "benchmark.json").read_text())
        (run,) = figures["runs"]
        assert bool(run["finished"]) == last and len(figures["with_motion"]) == 5
    assert "lambda1: nothing was made." in text and "lambda2 0.1 | 0.641 | 0.659" in text
    assert "| VideoMage |" in text and "a <rex>" not in text and "how bright." in text
    assert "0.662 | 0.67 | 0.407 | 0.983" in text, "the paper's numbers stand beside"
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == [
        "benchmark_alpha.png", "benchmark_riding.png", "benchmark_still.png",
    ]  # fmt: skip


def test_a_study_of_what_was_made(emoji_base, grid, work, tmp_path):
    results = run_grid(emoji_base, SHORT, grid, "quick", [Brightness()], work, Callbacks())
    assert write_study(results.sample_videos, grid, 8, tmp_path) == 5
    study = load_study(tmp_path, FULL)
    (name,) = study.cells
    cell = study.cells[name]
    assert cell.prompt == "a dog is riding a panda on grass" and [p.stem for p in cell.images] == ["po", "rex"]
    assert len(study.comparisons) == 4
    assert load_clip(study.videos[FULL, name], 8).pixels.shape == (3, 8, 384, 384)
    assert load_clip(cell.clip, 8).pixels.shape == (3, 8, 384, 384)
    with pytest.raises(ValueError, match="is there already"):
        require_new(tmp_path)


def test_another_setting_makes_anew_only_what_depends_on_it(emoji_base, grid, work):
    runner = Runner(emoji_base, SHORT, grid, work, Callbacks())
    cell = grid.with_motion(grid.subset("quick"))[0]
    runner.make(METHODS[FULL], cell)
    trained = set((work / "trainings").iterdir())
    other = dataclasses.replace(SHORT, fusion=dataclasses.replace(SHORT.fusion, lambda2=0.1))
    Runner(emoji_base, other, grid, work, Callbacks()).make(METHODS[FULL], cell)
    new = set((work / "trainings").iterdir()) - trained
    assert [path.name.split("-")[0] for path in new] == ["fusion_rex_po"]


def test_trainings_of_other_lengths_are_trained_each(emoji_base, grid, work):
    """Under a constant schedule they share a folder."""
    runner = Runner(emoji_base, SHORT, grid, work, Callbacks())
    longer = dataclasses.replace(SHORT, fusion=dataclasses.replace(SHORT.fusion, steps=SHORT.fusion.steps + 1))
    assert SHORT.fusion.lr_scheduler == "constant"
    fused, more = (runner.fusion(("rex", "po"), preset) for preset in (SHORT, longer))
    assert runner.fusion(("rex", "po"), SHORT) is fused is not more
    assert cache_key(*fused.key_parts()) != cache_key(*more.key_parts())


def test_a_stopped_benchmark_stops(emoji_base, grid, tmp_path):
    with pytest.raises(Cancelled):
        run_grid(emoji_base, SHORT, grid, "quick", [Brightness()], tmp_path, Callbacks(cancelled=lambda: True))


def test_runs_are_logged_when_they_begin_and_once_each(tmp_path):
    about = {"date": "2026-01-01", "reason": "a test"}
    log_run(about, tmp_path)
    log_run({**about, "date": "2026-01-02"}, tmp_path)  # goes on the next day
    log_run({**about, "reason": "another"}, tmp_path)
    runs = json.loads((tmp_path / "benchmark_runs.json").read_text())
    assert [(run["reason"], run["finished"]) for run in runs] == [("a test", ""), ("another", "")]


def test_what_cannot_be_made_is_named_and_all_else_is_made(emoji_base, grid, work, monkeypatch):
    requested: list[str] = []

    def fails(runner: Runner, name: str, preset: object) -> None:
        requested.append(name)
        raise ValueError("its loss is no number")

    monkeypatch.setattr(Runner, "motion", fails)
    results = run_grid(emoji_base, SHORT, grid, "quick", [Brightness()], work, Callbacks())
    assert [r.method for r in results.with_motion] == ["the base alone"] and len(results.no_motion) == 2
    assert len(results.failures) == 4 + 3 and "VideoMage, rex+po_riding_grass_3: its loss" in results.failures[0]


def test_a_failed_training_is_not_tried_again(emoji_base, grid, tmp_path, monkeypatch):
    tries: list[int] = []

    def fails(*_: object, **__: object) -> None:
        tries.append(1)
        raise ValueError("no")

    monkeypatch.setattr("videomage_core.evaluation.runner.train_subject", fails)
    runner = Runner(emoji_base, SHORT, grid, tmp_path, Callbacks())
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            runner.subject("rex", SHORT)
    assert len(tries) == 1


def test_a_damaged_video_is_made_again(emoji_base, grid, work):
    runner = Runner(emoji_base, SHORT, grid, work, Callbacks())
    cell = grid.with_motion(grid.subset("quick"))[0]
    good = runner.make(METHODS["the base alone"], cell)
    for path in (work / "videos").glob(f"{cell.name}-*"):
        path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(runner.make(METHODS["the base alone"], cell).video, good.video)


def test_peak_memory_sees_what_is_held_inside_every_time():
    for _ in range(3):
        with peak_memory(torch.device("cpu")) as peak:
            held = [np.ones(100_000, dtype=np.uint8) for _ in range(4_000)]
            time.sleep(0.2)
            del held
        if peak() is not None:
            assert 300 < peak() < 600


def test_the_command_refuses_before_it_loads(tmp_path, capsys, grid):
    assert main(["benchmark", str(tmp_path), "--reason", " "]) == 2
    assert "--reason: got nothing" in capsys.readouterr().err
    assert main(["benchmark", str(tmp_path), "--reason", "a test"]) == 2
    assert "grid.toml is not there" in capsys.readouterr().err
    assert main(["benchmark", str(grid.folder), "--subset", "huge", "--reason", "a test"]) == 2
    assert "subset: got 'huge'" in capsys.readouterr().err
