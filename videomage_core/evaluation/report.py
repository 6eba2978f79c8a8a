"""Writes a benchmark's report: Markdown, figures as JSON, sheets of videos, small plots of sweeps."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ..data.contact_sheet import contact_sheet
from .benchmark import Record, Results
from .claims import Verdict, judge_claims, scores_of, subjects_of
from .grid import Cell, Grid
from .methods import FULL, METHODS
from .runner import Made
from .statistics import LEAST, Estimate, estimate, paired
from .sweep_plot import sweep_plot

# Tables 1, 2 and 4 of the paper: CLIP-T, CLIP-I, DINO-I, temporal consistency, on ZeroScope.
PAPER_METRICS = ("CLIP-T", "CLIP-I", "DINO-I", "T. Cons.")
PAPER: dict[str, tuple[float, ...]] = {
    "VideoMage": (0.662, 0.670, 0.407, 0.983),
    "MotionDirector": (0.656, 0.634, 0.370, 0.987),
    "w/o L_mot": (0.639, 0.651, 0.362, 0.976),
    "w/o L_attn": (0.626, 0.647, 0.358, 0.978),
    "w/o SCS": (0.601, 0.612, 0.234, 0.982),
}
SWEPT_METRICS = ("identity", "CLIP-I", "motion fidelity", "text alignment", "CLIP-T")
PAPER_STILL = {"VideoMage": (0.674, 0.681, 0.403, 0.851)}

PAPER_SWEEPS = (
    'The paper\'s Table 3 chooses lambda1 0.25, lambda2 0.6, omega 0.5, alpha 1e4, tau 15 and "A static video of".'
)

HEAD = """\
# Benchmark

Written by `python -m videomage_core benchmark`; the figures are in `{name}.json`.

{about}

In brackets: 95 % intervals (Student's, over the means of the groups of subjects: videos of the same subjects are not
independent, so each group counts once; fewer than {least} groups give a range of their means and no interval).  They
allow for other start noise and other groups like these.  They do not allow for other trainings (each LoRA is trained
once, with one seed), and groups that share a subject share its LoRA.  So a claim counts as told only if its difference
has the same sign in every motion.
"""
CLAIMS_HEAD = """\
## The paper's claims

Fixed before anything was run.  The difference is turned so that more is better for the claim, and is of the same cells
from the same start noise.
"""


def log_run(about: Mapping[str, Any], folder: Path, name: str = "benchmark") -> None:
    """Write down that a run begins, so that none is forgotten; one that goes on is not a new one."""
    runs = _runs(folder, name)
    if not runs or runs[-1].get("finished") or {**runs[-1], "date": None} != {**about, "date": None, "finished": ""}:
        _write_runs([*runs, {**about, "finished": ""}], folder, name)


def _runs(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / f"{name}_runs.json"
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


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
) -> Path:
    """Write ``NAME.md``, ``NAME.json`` and ``images/NAME_*.png``; the run that was logged is finished.

    Args:
        results: of the grid; its sweeps may be another grid's.
        grid: what was asked.
        metrics: whether more is better, in the tables' order.
        meanings: a line on each metric.
        about: what ``log_run`` was told: grid, size, base, preset, engine, versions, reason; JSON values.
        folder: of the docs.
        swept: which grid the sweeps are of, in words.

    Returns:
        The Markdown file.
    """
    log_run(about, folder, name)
    runs = _runs(folder, name)
    runs[-1]["finished"] = time.strftime("%Y-%m-%d")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pictures, plots = _sheets(results.shown, grid, folder, name), _plots(results, metrics, folder, name)
    verdicts = judge_claims(results, metrics)
    figures = {
        "runs": runs,
        "claims": [
            {
                "claim": v.claim.text, "metric": v.metric, "verdict": v.word, "by motion": v.by_motion,
                "difference": None if v.difference is None else dataclasses.asdict(v.difference),
            }
            for v in verdicts
        ],
        **{task: [_row(r) for r in getattr(results, task)] for task in ("performed", "still", "crowds")},
        "sweeps": {s: {v: [_row(r) for r in rs] for v, rs in values.items()} for s, values in results.sweeps.items()},
        "training_seconds": results.training,
        "failures": results.failures,
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(figures, ensure_ascii=False) + "\n", encoding="utf-8")
    used = [m for m in metrics if any(m in r.scores for r in _all_records(results))]
    parts = [HEAD.format(name=name, about=_about(about), least=LEAST)]
    if results.failures:
        parts.append("## Not made\n\n" + "\n".join(f"* {failure}" for failure in results.failures))
    parts.append(CLAIMS_HEAD.strip() + "\n\n" + "\n".join(_sentence(v) for v in verdicts))
    tried = list(dict.fromkeys(r.method for r in (*results.performed, *results.still)))
    parts.append("## Methods\n\n" + "\n".join(f"* {n}: {METHODS[n].about}." for n in tried if n in METHODS))
    for title, records, paper in (
        ("Two subjects and a motion (Tables 1 and 2)", results.performed, PAPER),
        ("Two subjects without a motion (Table 4)", results.still, PAPER_STILL),
        ("Three subjects (Sec. 8.3)", results.crowds, {}),
    ):
        if records:
            parts.append(f"## {title}\n\n{_tables(records, used, metrics, paper)}")
    if results.sweeps:
        of = f"On {swept}, never on the cells above.  " if swept else ""
        parts.append(f"## Settings (Table 3)\n\n{of}{PAPER_SWEEPS}\n\n" + _sweep_tables(results, used))
        parts.append("\n\n".join(plots))
    parts.append("## Cost\n\n" + _cost(results))
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
    return [*results.performed, *results.still, *results.crowds, *swept]


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
    claim, found = verdict.claim, verdict.difference
    if found is None:
        return f"* {claim.text}: **was not run** ({verdict.metric})."
    motions = "; ".join(f"{motion} {mean:+.3f}" for motion, mean in verdict.by_motion.items())
    margin = f", {claim.margin} worse allowed" if claim.margin else ""
    return (
        f"* {claim.text}: **{verdict.word}** ({verdict.metric}, {claim.better} against {claim.worse}{margin}: "
        f"{found.mean:+.3f}, {found.ends('+.3f')}, {found.count} cells{'; ' + motions if motions else ''})."
    )


def _tables(
    records: Sequence[Record], used: Sequence[str], metrics: Mapping[str, bool], paper: Mapping[str, tuple[float, ...]]
) -> str:
    names = list(dict.fromkeys(r.method for r in records))
    shown = [m for m in used if any(m in r.scores for r in records)]
    rows, against = [], []
    for name in names:
        cells, differences = [], []
        for metric in shown:
            values = scores_of(records, name, metric)
            cells.append(str(_mean(values)) if values else "")
            full = scores_of(records, FULL, metric)
            if name != FULL and values and full:
                differences.append(_signed(paired(values, full, subjects_of)))
        rows.append([name, *cells])
        if differences:
            against.append([name, *differences])
    count = len({r.cell for r in records})
    header = ["", *(f"{m} {'↑' if metrics[m] else '↓'}" for m in shown)]
    text = f"{count} cells a method.\n\n{_table(header, rows)}"
    if against:
        text += f"\n\nThe method minus VideoMage, on the same cells:\n\n{_table(header, against)}"
    published = [
        [n, *map(str, paper[METHODS[n].in_paper])] for n in names if n in METHODS and METHODS[n].in_paper in paper
    ]
    if published:
        text += "\n\nThe paper's, on ZeroScope with CLIP and DINO, not to be compared in size:\n\n"
        text += _table(["", *PAPER_METRICS], published)
    return text


def _mean(values: Mapping[Cell, float]) -> Estimate:
    return estimate(list(values.values()), [subjects_of(cell) for cell in values])


def _signed(found: Estimate) -> str:
    return f"{found.mean:+.3f} ({found.ends('+.3f')})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _sweep_tables(results: Results, used: Sequence[str]) -> str:
    """Each value's means and ranges; a sentence on where each setting's identity and motion are best."""
    rows, sentences = [], []
    for sweep, values in results.sweeps.items():
        means = {name: {m: _mean(scores_of(records, name, m)) for m in used} for name, records in values.items()}
        rows += [[name, *(str(found[m]) for m in used)] for name, found in means.items()]
        best = [
            f"{m} is highest at {max(means, key=lambda name: means[name][m].mean)}" for m in used if m in SWEPT_METRICS
        ]
        sentences.append(f"* {sweep}: {', '.join(best)}.")
    count = max((len(rs) for values in results.sweeps.values() for rs in values.values()), default=0)
    told = "" if all(e.is_interval for found in means.values() for e in found.values()) else (
        "  Too few groups for intervals: which value is best cannot be told, only which was."
    )  # fmt: skip
    return f"{count} cells a value.{told}\n\n{_table(['', *used], rows)}\n\n" + "\n".join(sentences)


def _cost(results: Results) -> str:
    records = [*results.performed, *results.still]
    names = list(dict.fromkeys(r.method for r in records))
    rows = []
    for name in names:
        own = [r for r in results.performed if r.method == name] or [r for r in records if r.method == name]
        memory = [r.memory_mb for r in own if r.memory_mb is not None]
        rows.append([name, f"{median(r.seconds for r in own):.1f}", f"{median(memory):.0f}" if memory else "not known"])
    text = _table(["sampling one video", "seconds, median", "memory beyond the base, MB, median"], rows)
    trained = [[kind, str(len(s)), f"{median(s):.0f}"] for kind, s in sorted(results.training.items())]
    if trained:
        text += "\n\nA video needs one of each of its LoRAs; a fusion besides its subjects'.\n\n"
        text += _table(["training, with all it makes first, of a", "trained", "seconds, median"], trained)
    return text


def _sheets(shown: Sequence[Made], grid: Grid, folder: Path, name: str) -> list[str]:
    """One sheet for each motion, and one for none: each group of subjects with each method."""
    links = []
    for motion in dict.fromkeys(made.cell.motion for made in shown):
        chosen = [made for made in shown if made.cell.motion == motion]
        chosen.sort(key=lambda made: made.cell.subjects)
        rows = [torch.from_numpy(made.video).permute(3, 0, 1, 2).float() / 127.5 - 1 for made in chosen]
        labels = [f"{made.method}: {grid.prompt(made.cell)}" for made in chosen]
        file = f"{name}_{(motion or 'still').replace(' ', '_')}.png"
        contact_sheet(rows, labels).save(folder / "images" / file)
        links.append(f"![{motion or 'without a motion'}](images/{file})")
    return links


def _plots(results: Results, metrics: Mapping[str, bool], folder: Path, name: str) -> list[str]:
    links = []
    for sweep, values in results.sweeps.items():
        shown = [m for m in metrics if all(any(m in r.scores for r in rs) for rs in values.values())]
        lines = {
            metric: [estimate([r.scores[metric] for r in rs], [r.cell.subjects for r in rs]) for rs in values.values()]
            for metric in shown
        }
        file = f"{name}_{sweep}.png"
        sweep_plot(list(values), lines).save(folder / "images" / file)
        links.append(f"![{sweep}](images/{file})")
    return links
