"""Writes a benchmark's report: figures as JSON, and from these Markdown with tables and plots.

    python -m videomage_core.evaluation.report docs

writes the Markdown and the forest plots of ``docs/benchmark.json`` anew, as after a change of their words; no video is
made and none is scored.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..text_files import read_json, read_json_object
from .benchmark import Record, Results
from .forest_plot import Comparison, forest_plot
from .grid import Grid
from .hypotheses import Verdict, judge_hypotheses, scores_of, subjects_of, verdict_of
from .methods import FULL, METHODS
from .report_records import claims_to_json, from_json, to_json
from .report_sheets import plots, sheets
from .report_tables import PAPER, PAPER_STILL, cost, sweep_tables, table, tables
from .statistics import LEAST, paired

HEAD = """\
# Benchmark

Written by `python -m videomage_core benchmark`; the figures are in `{name}.json`.

{about}

How to read the intervals, all of 95 %:

* In brackets: for other subjects like these. Each group of subjects counts once, as videos of the same subjects are not
  independent, and groups that share a subject count for less. Student's interval for differences, Wilson's for rates.
  With fewer than {least} groups the range of their means is given instead.
* Behind "±": for these subjects and their LoRAs, if other videos were made with them.
* Neither allows for other trainings: each LoRA is trained once, with one seed.

The words for a comparison: **significant**, its interval lies on the side of the claim; **contradicted**, on the other
side; **inconclusive**, it holds 0. For other subjects the difference must also have the same sign in every motion.
"""
CLAIMS_HEAD = """\
## The paper's claims

The comparisons were fixed before anything was run. A positive difference speaks for the claim. Both methods
make the same cells from the same initial noise. Thin bars are the intervals for other subjects, thick bars those for
these subjects.
{count} comparisons are made; {chance:.1f} significant ones are expected by chance at this level.

![The paper's claims](images/{name}_claims.png)
"""
DIFFERENCES_HEAD = """\
## Significant differences from VideoMage

Of {count} comparisons with other methods, these are significant in either direction, at least for these subjects;
{chance:.1f} are expected by chance at this level. On the right, "better", the other method is better than VideoMage.
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
        about: what ``log_run`` was told: grid, subset, base, preset, engine, versions, reason; JSON values.
        folder: of the docs.
        swept: which grid the sweeps are of, in words.
        finished: nothing of the run that was logged is still to come.

    Returns:
        The Markdown file.
    """
    runs = _logged_runs(about, folder, name, finished)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    figures = {
        "runs": runs,
        "about": dict(about),
        "swept": swept,
        "metrics": {m: {"more is better": more, "meaning": meanings[m]} for m, more in metrics.items()},
        "sheets": sheets(results.sample_videos, grid, folder, name),
        **to_json(results),
    }
    written = _write(figures, folder, name)
    _write_runs(runs, folder, name)
    return written


def _logged_runs(about: Mapping[str, Any], folder: Path, name: str, finished: bool) -> list[dict[str, Any]]:
    """All runs, this one last, with the day on which it finished."""
    log_run(about, folder, name)
    runs = _runs(folder, name)
    runs[-1]["finished"] = time.strftime("%Y-%m-%d") if finished else ""
    return runs


def rewrite_report(folder: Path, name: str = "benchmark") -> Path:
    """Write the Markdown and the plots anew from the figures in ``NAME.json``; the sheets of videos stay."""
    path = folder / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"folder: {path} is not there; give the folder of a report")
    return _write(read_json_object(path, "report"), folder, name)


def _write(figures: dict[str, Any], folder: Path, name: str) -> Path:
    results, metrics = from_json(figures), {m: bool(v["more is better"]) for m, v in figures["metrics"].items()}
    verdicts = judge_hypotheses(results, metrics)
    figures["claims"] = claims_to_json(verdicts)
    (folder / f"{name}.json").write_text(json.dumps(figures, ensure_ascii=False) + "\n", encoding="utf-8")
    used = [m for m in metrics if any(m in r.scores for r in _all_records(results))]
    parts = [HEAD.format(name=name, about=_about(figures["about"]), least=LEAST)]
    if results.failures:
        parts.append("## Not made\n\n" + "\n".join(f"* {failure}" for failure in results.failures))
    parts += [*_claims(verdicts, folder, name), *_differences(results, metrics, folder, name)]
    parts += _tables(results, metrics, used, figures["swept"])
    if results.sweeps:
        parts.append("\n\n".join(plots(results, metrics, folder, name)))
    parts.append("## Cost\n\n" + cost(results))
    parts.append("## Metrics\n\n" + "\n".join(f"* {m}: {figures['metrics'][m]['meaning']}." for m in used))
    if figures["sheets"]:
        links = "\n\n".join(figures["sheets"])
        parts.append(f"## Videos\n\nThe first seed in the first place, none left out.\n\n{links}")
    parts.append("## Runs\n\n" + "\n".join(f"* {_line(run)}" for run in figures["runs"]))
    written = folder / f"{name}.md"
    written.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
    return written


def _claims(verdicts: Sequence[Verdict], folder: Path, name: str) -> list[str]:
    """The claims as a plot, with a table of what it shows."""
    judged = [(v, v.difference) for v in verdicts if v.difference is not None]
    if not judged:
        return ["## The paper's claims\n\nNone of the compared methods was run."]
    lines = [
        Comparison(f"{v.hypothesis.text}: {v.metric}", d, v.verdict_population, v.verdict_sample, v.hypothesis.margin)
        for v, d in judged
    ]
    forest_plot(lines, "against the claim", "for the claim").save(folder / "images" / f"{name}_claims.png")
    header = ["claim", "metric", "difference", "other subjects", "these subjects", "in each motion"]
    rows = []
    for verdict, difference in judged:
        hypothesis = verdict.hypothesis
        motions = "; ".join(f"{motion} {mean:+.3f}" for motion, mean in verdict.by_motion.items())
        margin = f" ({hypothesis.margin} worse is allowed)" if hypothesis.margin else ""
        compared = f"{hypothesis.text}{margin}: {hypothesis.better} minus {hypothesis.worse}, {difference.count} cells"
        rows.append(
            [compared, verdict.metric, difference.signed(), verdict.verdict_population, verdict.verdict_sample, motions]
        )
    not_run = [f"Not run: {v.hypothesis.text} ({v.metric})." for v in verdicts if v.difference is None]
    head = CLAIMS_HEAD.format(count=len(judged), chance=len(judged) / 20, name=name)
    return ["\n\n".join([head.strip(), table(header, rows), *not_run])]


def _differences(results: Results, metrics: Mapping[str, bool], folder: Path, name: str) -> list[str]:
    """Every significant difference of a method from the full one, in either direction, as a plot."""
    lines, count = [], 0
    for words, records in (("with a motion", results.with_motion), ("without a motion", results.no_motion)):
        for method in dict.fromkeys(r.method for r in records if r.method != FULL):
            for metric, more in metrics.items():
                own, full = scores_of(records, method, metric), scores_of(records, FULL, metric)
                if not own.keys() & full.keys():
                    continue
                count += 1
                difference = paired(own, full, subjects_of) if more else paired(full, own, subjects_of)
                population, sample = verdict_of(difference)
                if (population, sample) != ("inconclusive", "inconclusive"):
                    words_of = {"significant": "better", "contradicted": "worse"}
                    population, sample = (words_of.get(verdict, verdict) for verdict in (population, sample))
                    lines.append(Comparison(f"{words}, {method}: {metric}", difference, population, sample))
    head = DIFFERENCES_HEAD.format(count=count, chance=count / 20).strip()
    if not lines:
        return [f"{head}\n\nNone."]
    forest_plot(lines, "VideoMage is better", "VideoMage is worse").save(folder / "images" / f"{name}_differences.png")
    return [f"{head}\n\n![Differences from VideoMage](images/{name}_differences.png)"]


def _tables(results: Results, metrics: Mapping[str, bool], used: Sequence[str], swept: str) -> list[str]:
    tried = list(dict.fromkeys(r.method for r in (*results.with_motion, *results.no_motion)))
    parts = ["## Methods\n\n" + "\n".join(f"* {n}: {METHODS[n].about}." for n in tried if n in METHODS)]
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
    return parts


def _all_records(results: Results) -> list[Record]:
    swept = [r for values in results.sweeps.values() for rs in values.values() for r in rs]
    return [*results.with_motion, *results.no_motion, *results.three_subjects, *swept]


def _about(about: Mapping[str, Any]) -> str:
    return "\n".join(f"* {key}: {value}" for key, value in about.items())


def _line(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value or 'no'}" for key, value in run.items())


if __name__ == "__main__":
    print(f"wrote {rewrite_report(Path(sys.argv[1] if len(sys.argv) > 1 else 'docs'))}")
