"""What is told against the full method is said, whichever way."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.core.evaluation.test_hypotheses import records
from videomage_core.evaluation import report
from videomage_core.evaluation.benchmark import Results
from videomage_core.evaluation.forest_plot import Comparison, forest_plot
from videomage_core.evaluation.grid import Grid
from videomage_core.evaluation.methods import FULL
from videomage_core.evaluation.report import _differences, rewrite_report, write_report
from videomage_core.evaluation.report_records import from_json, to_json
from videomage_core.evaluation.report_tables import cost, mean_of, sweep_tables


@pytest.fixture
def lines(monkeypatch) -> list[Comparison]:
    """The lines of the forest plot that is drawn last."""
    drawn: list[Comparison] = []

    def plot(comparisons, left, right):
        drawn[:] = comparisons
        return forest_plot(comparisons, left, right)

    monkeypatch.setattr(report, "forest_plot", plot)
    return drawn


def some_results() -> Results:
    rng = np.random.default_rng(0)
    full, noise = rng.normal(0, 0.05, 24), rng.normal(0, 0.02, (3, 24))
    return Results(
        with_motion=records(FULL, list(full))
        + records("without SCS", list(full - 0.2 + noise[0]))
        + records("without L_mot", list(full + 0.2 + noise[1]))
        + records("without L_attn", list(full + noise[2] - noise[2].mean()))
    )


def test_what_is_better_and_what_is_worse_than_the_full_method_is_said(tmp_path, lines):
    (tmp_path / "images").mkdir()
    (text,) = _differences(some_results(), {"identity": True}, tmp_path, "b")
    assert "Of 3 comparisons" in text and "0.1 are expected by chance" in text and "images/b_differences.png" in text
    assert [(line.label, line.population, line.sample) for line in lines] == [
        ("with a motion, without SCS: identity", "worse", "worse"),
        ("with a motion, without L_mot: identity", "better", "better"),
    ]
    assert lines[0].difference.mean == pytest.approx(-0.2, abs=0.02)
    _differences(some_results(), {"identity": False}, tmp_path, "b")
    assert [line.population for line in lines] == ["better", "worse"], "where less is better, signs are turned"


def test_a_report_written_anew_from_its_figures_is_the_same(tmp_path, lines):
    results, about = some_results(), {"date": "2026-01-01", "reason": "a test"}
    grid = Grid(tmp_path, {}, {}, {}, {}, {})
    written = write_report(results, grid, {"identity": True}, {"identity": "likeness"}, about, tmp_path, name="b")
    text, figures = written.read_text(), (tmp_path / "b.json").read_text()
    assert "| significant | significant |" in text and "| contradicted | contradicted |" in text
    assert "Not run: The text is followed" not in text and "Appearance leaks" not in text, "other metrics' claims"
    assert (lines[0].population, lines[0].sample) == ("worse", "worse")
    written.unlink()
    assert rewrite_report(tmp_path, "b").read_text() == text and (tmp_path / "b.json").read_text() == figures
    with pytest.raises(FileNotFoundError, match=r"none\.json is not there; give the folder of a report"):
        rewrite_report(tmp_path, "none")


def test_results_survive_json():
    results = some_results()
    results.sweeps["tau"] = {"tau 3": records("tau 3", [0.25, 0.5])}
    again = from_json(json.loads(json.dumps(to_json(results))))
    assert [r.cell for r in again.with_motion] == [r.cell for r in results.with_motion]
    assert again.with_motion[0].scores["identity"] == pytest.approx(results.with_motion[0].scores["identity"], abs=5e-5)
    assert again.sweeps == results.sweeps


def test_a_rates_interval_keeps_to_its_bounds_and_a_similaritys_need_not():
    cells = {r.cell: float(i % 6 == 0) for i, r in enumerate(records(FULL, [0.0] * 24))}
    rate, similarity = mean_of(cells, "attribute mixing"), mean_of(cells, "identity")
    assert 0 < rate.low < rate.mean < rate.high < 1 and similarity.low < 0


def test_values_that_could_not_be_made_are_left_out_of_the_sweeps():
    results = Results(sweeps={"omega": {"omega 0.1": [], "omega 0.5": records("omega 0.5", [0.1, 0.3] * 3)}})
    text = sweep_tables(results, ["identity", "motion fidelity"])
    assert "| omega 0.5 | 0.200" in text and "| omega 0.1 |" not in text.split("The paper's")[0]
    assert "identity is highest at omega 0.5" in text


def test_seconds_are_the_median():
    results = Results(with_motion=records(FULL, [0.1, 0.2]), training={"subject": [60.0, 80.0]})
    assert "| VideoMage | 1.0 | not known |" in cost(results) and "| subject | 2 | 70 |" in cost(results)
