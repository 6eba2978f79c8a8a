"""A claim is told where its difference is, of subjects like these or of these alone."""

from __future__ import annotations

import numpy as np
import pytest

from videomage_core.evaluation.benchmark import Record, Results
from videomage_core.evaluation.grid import Cell
from videomage_core.evaluation.hypotheses import judge_hypotheses
from videomage_core.evaluation.methods import FULL


def records(method: str, values: list[float]) -> list[Record]:
    cells = [Cell((str(i % 6), "b"), ("riding", "hopping")[i // 6 % 2], "grass", i) for i in range(len(values))]
    return [Record(method, cell, {"identity": v}, 1.0, None) for cell, v in zip(cells, values, strict=True)]


@pytest.mark.parametrize(
    ("gain", "verdict_population"), [(0.2, "significant"), (-0.2, "contradicted"), (0.0, "inconclusive")]
)
def test_a_claim_is_significant_contradicted_or_inconclusive(gain, verdict_population):
    rng = np.random.default_rng(0)
    base, noise = rng.normal(0, 0.05, 24), rng.normal(0, 0.02, 24)
    full = base + gain + noise - noise.mean()
    results = Results(with_motion=records(FULL, list(full)) + records("without SCS", list(base)))
    verdicts = {v.hypothesis.text: v for v in judge_hypotheses(results, {"identity": True})}
    assert verdicts["SCS: without it identity is worse (Table 2)"].verdict_population == verdict_population
    assert verdicts["SCS: without it identity is worse (Table 2)"].verdict_sample == verdict_population
    assert verdicts["L_mot: without it identity is worse (Table 2)"].verdict_population == "not run"


def test_a_claim_that_one_motion_contradicts_is_inconclusive():
    base = [0.0] * 24
    full = [0.4 if i // 6 % 2 else -0.1 for i in range(24)]
    results = Results(with_motion=records(FULL, full) + records("without L_mot", base))
    (verdict,) = (
        v for v in judge_hypotheses(results, {"identity": True}) if v.difference and "L_mot" in v.hypothesis.text
    )  # fmt: skip
    assert (
        verdict.difference is not None and verdict.difference.low > 0 and verdict.verdict_population == "inconclusive"
    )


def test_what_holds_of_some_subjects_alone_is_told_of_these():
    gains = [0.4, 0.4, 0.4, -0.1, -0.1, -0.1]
    noise = np.random.default_rng(1).normal(0, 0.02, 24)
    results = Results(
        with_motion=records(FULL, [gains[i % 6] + e for i, e in enumerate(noise)]) + records("without SCS", [0.0] * 24)
    )
    verdicts = {v.hypothesis.text: v for v in judge_hypotheses(results, {"identity": True})}
    verdict = verdicts["SCS: without it identity is worse (Table 2)"]
    assert (verdict.verdict_population, verdict.verdict_sample) == ("inconclusive", "significant")
