"""Writes a benchmark's report: Markdown, figures as JSON, sheets of videos, small plots of sweeps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ..data.contact_sheet import contact_sheet
from .benchmark import Record, Results
from .claims import judge_claims, scores_of, subjects_of
from .grid import Cell, Grid
from .methods import FULL, METHODS
from .runner import Made
from .statistics import Estimate, estimate, paired
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
PAPER_STILL = {"VideoMage": (0.674, 0.681, 0.403, 0.851)}

HEAD = """\
# Benchmark

Written by `python -m videomage_core benchmark`; the figures are in `{name}.json`.

{about}

In brackets: 95 % intervals of a bootstrap that draws whole groups of subjects, as videos of the same subjects
are not independent.  "Against VideoMage": the mean difference on the same cells, from the same start noise.
"""


def write_report(
    results: Results,
    grid: Grid,
    metrics: Mapping[str, bool],
    meanings: Mapping[str, str],
    about: Mapping[str, Any],
    folder: Path,
    name: str = "benchmark",
) -> Path:
    """Write ``NAME.md``, ``NAME.json`` and ``images/NAME_*.png``.

    Args:
        results: of the grid; its sweeps may be another grid's.
        grid: what was asked.
        metrics: whether more is better, in the tables' order.
        meanings: a line on each metric.
        about: size, base, preset, versions and reasons of the runs, JSON values; ``runs`` grows with each report.
        folder: of the docs.

    Returns:
        The Markdown file.
    """
    path = folder / f"{name}.json"
    runs = json.loads(path.read_text(encoding="utf-8")).get("runs", []) if path.is_file() else []
    runs.append(dict(about))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pictures = _sheets(results.shown, grid, folder, name) + _plots(results, metrics, folder, name)
    verdicts = judge_claims(results, dict(metrics))
    figures = {
        "runs": runs,
        "claims": [
            {
                "claim": v.claim.text, "metric": v.claim.metric, "verdict": v.word,
                "difference": None if v.difference is None else dataclasses.asdict(v.difference),
            }
            for v in verdicts
        ],
        **{task: [_row(r) for r in getattr(results, task)] for task in ("performed", "still", "crowds")},
        "sweeps": {s: {v: [_row(r) for r in rs] for v, rs in values.items()} for s, values in results.sweeps.items()},
        "training_seconds": results.training,
    }  # fmt: skip
    path.write_text(json.dumps(figures, ensure_ascii=False) + "\n", encoding="utf-8")
    used = [m for m in metrics if any(m in r.scores for r in _all_records(results))]
    parts = [HEAD.format(name=name, about=_about(about))]
    parts.append("## The paper's claims\n\n" + "\n".join(_sentence(v) for v in verdicts))
    for title, records, paper in (
        ("Two subjects and a motion (Tables 1 and 2)", results.performed, PAPER),
        ("Two subjects without a motion (Table 4)", results.still, PAPER_STILL),
        ("Three subjects (Sec. 8.3)", results.crowds, {}),
    ):
        if records:
            parts.append(f"## {title}\n\n{_tables(records, used, metrics, paper)}")
    if results.sweeps:
        parts.append("## Settings (Table 3)\n\n" + _sweep_tables(results, used))
    parts.append("## Cost\n\n" + _cost(results))
    parts.append("## Metrics\n\n" + "\n".join(f"* {m}: {meanings[m]}." for m in used))
    if pictures:
        parts.append("## Videos\n\nThe first seed in the first place, none left out.\n\n" + "\n\n".join(pictures))
    parts.append("## Runs\n\n" + "\n".join(f"* {_line(run)}" for run in runs))
    written = folder / f"{name}.md"
    written.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
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
    return "\n".join(f"* {key}: {value}" for key, value in about.items() if key != "settings")


def _line(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in run.items() if key != "settings")


def _sentence(verdict: Any) -> str:
    claim, found = verdict.claim, verdict.difference
    figure = "" if found is None else (
        f" ({claim.metric}, {claim.better} against {claim.worse}, more is better: {found.mean:+.3f}, "
        f"{found.low:+.3f} to {found.high:+.3f}, {found.count} cells)"
    )  # fmt: skip
    return f"* {claim.text}: **{verdict.word}**{figure}."


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
        text += f"\n\nAgainst VideoMage:\n\n{_table(header, against)}"
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
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _sweep_tables(results: Results, used: Sequence[str]) -> str:
    rows = []
    for values in results.sweeps.values():
        for name, records in values.items():
            cells = []
            for metric in used:
                found = scores_of(records, name, metric)
                cells.append(str(_mean(found)) if found else "")
            rows.append([name, *cells])
    return _table(["", *used], rows)


def _cost(results: Results) -> str:
    records = [*results.performed, *results.still]
    names = list(dict.fromkeys(r.method for r in records))
    rows = []
    for name in names:
        own = [r for r in results.performed if r.method == name] or [r for r in records if r.method == name]
        memory = [r.memory_mb for r in own if r.memory_mb is not None]
        rows.append([name, f"{median(r.seconds for r in own):.1f}", f"{median(memory):.0f}" if memory else "not known"])
    text = _table(["sampling one video", "seconds, median", "memory beyond the base, MB, median"], rows)
    trained = [[kind, str(len(s)), f"{median(s):.0f}"] for kind, s in results.training.items()]
    if trained:
        text += "\n\n" + _table(["training steps of a", "trained", "seconds, median"], trained)
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
