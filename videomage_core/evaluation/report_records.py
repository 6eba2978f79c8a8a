"""A benchmark's results as JSON, and back: so a report's text can be written anew without making a video."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from .benchmark import Record, Results
from .grid import Cell
from .hypotheses import Verdict

TASKS = ("with_motion", "no_motion", "three_subjects")
_OTHER = {"method", "cell", "subjects", "motion", "place", "seed", "seconds", "memory_mb"}  # of a row; the rest scores


def to_json(results: Results) -> dict[str, Any]:
    """All that was scored, in JSON values; scores to four digits."""
    return {
        **{task: [_row(r) for r in getattr(results, task)] for task in TASKS},
        "sweeps": {s: {v: [_row(r) for r in rs] for v, rs in values.items()} for s, values in results.sweeps.items()},
        "training_seconds": results.training,
        "failures": results.failures,
    }


def from_json(figures: Mapping[str, Any]) -> Results:
    """The results that ``to_json`` gave, without the videos."""
    with_motion, no_motion, three_subjects = ([_record(row) for row in figures[task]] for task in TASKS)
    sweeps = {s: {v: [_record(row) for row in rows] for v, rows in vs.items()} for s, vs in figures["sweeps"].items()}
    training, failures = dict(figures["training_seconds"]), list(figures["failures"])
    return Results(with_motion, no_motion, three_subjects, sweeps, training, failures=failures)


def claims_to_json(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Every claim with its difference and both verdicts."""
    return [
        {
            "claim": v.hypothesis.text, "metric": v.metric, "verdict for other subjects": v.verdict_population,
            "verdict for these subjects": v.verdict_sample, "by motion": v.by_motion,
            "difference": None if v.difference is None else dataclasses.asdict(v.difference),
        }
        for v in verdicts
    ]  # fmt: skip


def _row(record: Record) -> dict[str, Any]:
    cell = record.cell
    return {
        "method": record.method,
        "subjects": list(cell.subjects),
        "motion": cell.motion,
        "place": cell.place,
        "seed": cell.seed,
        "seconds": record.seconds,
        "memory_mb": record.memory_mb,
        **{name: round(value, 4) for name, value in record.scores.items()},
    }


def _record(row: Mapping[str, Any]) -> Record:
    cell = Cell(tuple(row["subjects"]), row["motion"], row["place"], row["seed"])
    scores = {name: value for name, value in row.items() if name not in _OTHER}
    return Record(row["method"], cell, scores, row["seconds"], row["memory_mb"])
