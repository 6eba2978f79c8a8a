"""What is told against the full method is said, whichever way."""

from __future__ import annotations

import numpy as np

from tests.core.evaluation.test_hypotheses import records
from videomage_core.evaluation.benchmark import Results
from videomage_core.evaluation.methods import FULL
from videomage_core.evaluation.report import _significant
from videomage_core.evaluation.report_tables import cost, sweep_tables


def test_what_is_better_and_what_is_worse_than_the_full_method_is_said():
    rng = np.random.default_rng(0)
    full, noise = rng.normal(0, 0.05, 24), rng.normal(0, 0.02, (3, 24))
    results = Results(
        with_motion=records(FULL, list(full))
        + records("without SCS", list(full - 0.2 + noise[0]))
        + records("without L_mot", list(full + 0.2 + noise[1]))
        + records("without L_attn", list(full + noise[2] - noise[2].mean()))
    )
    text = _significant(results, {"identity": True})
    assert "of 3 comparisons, 0.1 of them by chance" in text
    assert "with a motion, without SCS is worse than VideoMage in identity (**subjects like these**: -0." in text
    assert "with a motion, without L_mot is better than VideoMage in identity" in text and "L_attn" not in text
    assert "worse than VideoMage" in _significant(results, {"identity": False}).split("L_mot is ")[1]


def test_values_that_could_not_be_made_are_left_out_of_the_sweeps():
    results = Results(sweeps={"omega": {"omega 0.1": [], "omega 0.5": records("omega 0.5", [0.1, 0.3] * 3)}})
    text = sweep_tables(results, ["identity", "motion fidelity"])
    assert "| omega 0.5 | 0.200" in text and "| omega 0.1 |" not in text.split("The paper's")[0]
    assert "identity is highest at omega 0.5" in text


def test_seconds_are_the_median():
    results = Results(with_motion=records(FULL, [0.1, 0.2]), training={"subject": [60.0, 80.0]})
    assert "| VideoMage | 1.0 | not known |" in cost(results) and "| subject | 2 | 70 |" in cost(results)
