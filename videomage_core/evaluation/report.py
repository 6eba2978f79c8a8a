"""Writes a benchmark's report: Markdown, and figures as JSON; tables and pictures are made beside."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..text_files import read_json
from .benchmark import Record, Results
from .grid import Grid
from .hypotheses import Verdict, judge_hypotheses, scores_of, subjects_of
from .methods import FULL, METHODS
from .report_sheets import plots, sheets
from .report_tables import PAPER, PAPER_STILL, cost, sweep_tables, tables
from .statistics import LEAST, paired

HEAD = """\
# Benchmark

Written by `python -m videomage_core benchmark`; the figures are in `{name}.json`.

{about}

In brackets: 95 % intervals for other subjects like these (Student's, over the means of the groups of subjects: videos
of the same subjects are not independent, so each group counts once, and groups that share a subject count for less;
fewer than {least} groups give a range of their means and no interval).  Behind "±": half a 95 % interval for these very
subjects and their LoRAs, were other videos made with them.  Neither allows for other trainings: each LoRA is trained
once, with one seed.
"""
CLAIMS_HEAD = """\
## The paper's claims

What is compared with what was fixed before anything was run; how the metrics measure it is told apart by their mark in
the list of runs.  The difference is turned so that more is better for the claim, and is of the same cells from the same
initial noise.  First what can be said of subjects like these, where a claim counts as told only if its difference has
the same sign in every motion; then of these very ones.  {count} comparisons are made: of so many, {chance:.1f} would be
told by chance alone where there is nothing.
"""


def log_run(about: Mapping[str, Any], folder: Path, name: str = "benchmark") -> None:
    """Write down that a run begins, so that none is forgotten; one that goes on is not a new one."""
    runs = _runs(folder, name)
    if not runs or runs[-1].get("finished") or not _same(runs[-1], about):
        _write_runs([*runs, {**about, "finished": ""}], folder, name)


def _same(run: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a run that was logged is this one, on whatever day it goes on."""
    return {**run, "date": None, "finished": None} == {**about, "date": None, "finished": None}


def _runs(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / f"{name}_runs.json"
    return list(read_json(path, "report")) if path.is_file() else []


def _write_runs(runs: Sequence[Mapping[str, Any]], folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}_runs.json").write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


def write_report(
    results: Results,
    grid: Grid,
    metrics: Mapping[str, bool],
    meanings: Mapping[str, str],
    about: Mapping[str, Any],
    folder: Path,
    name: str = "benchmark",
    swept: str = "",
    finished: bool = True,
) -> Path:
    """Write ``NAME.md``, ``NAME.json`` and ``images/NAME_*.png``.

    Args:
        results: of the grid; its sweeps may be another grid's.
        grid: what was asked.
        metrics: whether more is better, in the tables' order.
        meanings: a line on each metric.
        about: what ``log_run`` was told: grid, size, base, preset, engine, versions, reason; JSON values.
        folder: of the docs.
        swept: which grid the sweeps are of, in words.
        finished: nothing of the run that was logged is still to come.

    Returns:
        The Markdown file.
    """
    log_run(about, folder, name)
    runs = _runs(folder, name)
    runs[-1]["finished"] = time.strftime("%Y-%m-%d") if finished else ""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pictures, curves = sheets(results.shown, grid, folder, name), plots(results, metrics, folder, name)
    verdicts = judge_hypotheses(results, metrics)
    figures = {
        "runs": runs,
        "claims": [
            {
                "claim": v.hypothesis.text,
                "metric": v.metric,
                "verdict": v.verdict_population,
                "verdict here": v.verdict_sample,
                "by motion": v.by_motion,
                "difference": None if v.difference is None else dataclasses.asdict(v.difference),
            }
            for v in verdicts
        ],
        **{task: [_row(r) for r in getattr(results, task)] for task in ("with_motion", "no_motion", "three_subjects")},
        "sweeps": {s: {v: [_row(r) for r in rs] for v, rs in values.items()} for s, values in results.sweeps.items()},
        "training_seconds": results.training,
        "failures": results.failures,
    }
    (folder / f"{name}.json").write_text(json.dumps(figures, ensure_ascii=False) + "\n", encoding="utf-8")
    used = [m for m in metrics if any(m in r.scores for r in _all_records(results))]
    parts = [HEAD.format(name=name, about=_about(about), least=LEAST)]
    if results.failures:
        parts.append("## Not made\n\n" + "\n".join(f"* {failure}" for failure in results.failures))
    compared = [v for v in verdicts if v.difference is not None]
    head = CLAIMS_HEAD.format(count=len(compared), chance=len(compared) / 20)
    parts.append(head.strip() + "\n\n" + "\n".join(_sentence(v) for v in verdicts))
    parts.append("## All that is told against VideoMage\n\n" + _significant(results, metrics))
    tried = list(dict.fromkeys(r.method for r in (*results.with_motion, *results.no_motion)))
    parts.append("## Methods\n\n" + "\n".join(f"* {n}: {METHODS[n].about}." for n in tried if n in METHODS))
    for title, records, paper in (
        ("Two subjects and a motion (Tables 1 and 2)", results.with_motion, PAPER),
        ("Two subjects without a motion (Table 4)", results.no_motion, PAPER_STILL),
        ("Three subjects (Sec. 8.3)", results.three_subjects, {}),
    ):
        if records:
            parts.append(f"## {title}\n\n{tables(records, used, metrics, paper)}")
    if results.sweeps:
        of = f"On {swept}, never on the cells above.  " if swept else ""
        parts.append(f"## Settings (Table 3)\n\n{of}" + sweep_tables(results, used))
        parts.append("\n\n".join(curves))
    parts.append("## Cost\n\n" + cost(results))
    parts.append("## Metrics\n\n" + "\n".join(f"* {m}: {meanings[m]}." for m in used))
    if pictures:
        parts.append("## Videos\n\nThe first seed in the first place, none left out.\n\n" + "\n\n".join(pictures))
    parts.append("## Runs\n\n" + "\n".join(f"* {_line(run)}" for run in runs))
    written = folder / f"{name}.md"
    written.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
    _write_runs(runs, folder, name)
    return written


def _all_records(results: Results) -> list[Record]:
    swept = [r for values in results.sweeps.values() for rs in values.values() for r in rs]
    return [*results.with_motion, *results.no_motion, *results.three_subjects, *swept]


def _row(record: Record) -> dict[str, Any]:
    return {
        "method": record.method,
        "cell": record.cell.name,
        "seconds": record.seconds,
        "memory_mb": record.memory_mb,
        **{name: round(value, 4) for name, value in record.scores.items()},
    }


def _about(about: Mapping[str, Any]) -> str:
    return "\n".join(f"* {key}: {value}" for key, value in about.items())


def _line(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value or 'no'}" for key, value in run.items())


def _sentence(verdict: Verdict) -> str:
    hypothesis, found = verdict.hypothesis, verdict.difference
    if found is None:
        return f"* {hypothesis.text}: **was not run** ({verdict.metric})."
    motions = "; ".join(f"{motion} {mean:+.3f}" for motion, mean in verdict.by_motion.items())
    margin = f", {hypothesis.margin} worse allowed" if hypothesis.margin else ""
    return (
        f"* {hypothesis.text}: **{verdict.verdict_population}**; of these subjects: "
        f"**{verdict.verdict_sample}** ({verdict.metric}, "
        f"{hypothesis.better} against {hypothesis.worse}{margin}: {found.signed()}, {found.count} cells"
        f"{'; ' + motions if motions else ''})."
    )


def _significant(results: Results, metrics: Mapping[str, bool]) -> str:
    """Every difference of a method to the full one that is told, whichever way, if only of these subjects."""
    lines, compared = [], 0
    for words, records in (("with a motion", results.with_motion), ("without a motion", results.no_motion)):
        for method in dict.fromkeys(r.method for r in records if r.method != FULL):
            for metric, more in metrics.items():
                own, full = scores_of(records, method, metric), scores_of(records, FULL, metric)
                if not own.keys() & full.keys():
                    continue
                compared, found = compared + 1, paired(own, full, subjects_of)
                like = found.is_interval and (found.low > 0 or found.high < 0)
                if not (like or found.sign_here):
                    continue
                side = "better" if (found.mean > 0) == more else "worse"
                scope = "**subjects like these**" if like else "these subjects"
                lines.append(f"* {words}, {method} is {side} than VideoMage in {metric} ({scope}: {found.signed()}).")
    told = "\n".join(lines) or "Nothing."
    return f"Whichever way, of {compared} comparisons, {compared / 20:.1f} of them by chance:\n\n{told}"
