"""A benchmark report's tables, with the paper's numbers beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from .benchmark import Record, Results
from .grid import Cell
from .hypotheses import scores_of, subjects_of
from .methods import FULL, METHODS
from .statistics import Estimate, estimate, paired
from .tracked_metrics import RATES

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

# Table 3: a setting's other values against the default's row of Table 1; the template's with CLIP-I and DINO-I alone.
PAPER_SWEEPS = {
    "lambda1 0.1": (0.658, 0.667, 0.398, 0.981),
    "lambda1 1.0": (0.660, 0.667, 0.401, 0.980),
    "lambda2 0.1": (0.641, 0.659, 0.362, 0.980),
    "lambda2 1.0": (0.656, 0.665, 0.402, 0.984),
    "omega 0.1": (0.646, 0.658, 0.372, 0.981),
    "omega 1.0": (0.657, 0.667, 0.403, 0.980),
    "alpha 1e3": (0.657, 0.665, 0.401, 0.988),
    "alpha 1e5": (0.634, 0.658, 0.379, 0.976),
    "tau 5": (0.658, 0.664, 0.401, 0.978),
    "tau 30": (0.657, 0.664, 0.399, 0.975),
    '"A video of ... being still."': (None, 0.664, 0.405, None),
    '"A video of ..."': (None, 0.659, 0.395, None),
}
PAPER_DEFAULTS = 'lambda1 0.25, lambda2 0.6, omega 0.5, alpha 1e4, tau 15, "A static video of ..."'


def tables(
    records: Sequence[Record], used: Sequence[str], metrics: Mapping[str, bool], paper: Mapping[str, tuple[float, ...]]
) -> str:
    """Each method's means, its differences to the full method's, and the paper's figures (by ``Method.in_paper``)."""
    names = list(dict.fromkeys(r.method for r in records))
    scored = [m for m in used if any(m in r.scores for r in records)]
    rows, against = [], []
    for name in names:
        cells, differences = [], []
        for metric in scored:
            values = scores_of(records, name, metric)
            cells.append(str(mean_of(values, metric)) if values else "")
            full = scores_of(records, FULL, metric)
            if name != FULL and values and full:
                differences.append(paired(values, full, subjects_of).signed())
        rows.append([name, *cells])
        if differences:
            against.append([name, *differences])
    count = len({r.cell for r in records})
    header = ["", *(f"{m} {'↑' if metrics[m] else '↓'}" for m in scored)]
    text = f"{count} cells a method.\n\n{table(header, rows)}"
    if against:
        text += f"\n\nThe method minus VideoMage, on the same cells:\n\n{table(header, against)}"
    published = [
        [n, *map(str, paper[METHODS[n].in_paper])] for n in names if n in METHODS and METHODS[n].in_paper in paper
    ]
    if published:
        text += "\n\nThe paper's, on ZeroScope with CLIP and DINO, not to be compared in size:\n\n"
        text += table(["", *PAPER_METRICS], published)
    return text


def mean_of(values: Mapping[Cell, float], metric: str) -> Estimate:
    """Of one method's values of one metric, by cell; a rate's interval keeps to 0..1."""
    bounds = (0.0, 1.0) if metric in RATES else None
    return estimate(list(values.values()), [subjects_of(cell) for cell in values], bounds)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def sweep_tables(results: Results, used: Sequence[str]) -> str:
    """Each value's means and ranges; a sentence on where each setting's identity and motion are best."""
    rows, sentences, certain = [], [], True
    for sweep, values in results.sweeps.items():
        means = {
            name: {m: mean_of(scores_of(records, name, m), m) for m in used if scores_of(records, name, m)}
            for name, records in values.items()
            if records  # one that could not be trained is named under "Not made"
        }
        rows += [[name, *(str(of_value[m]) if m in of_value else "" for m in used)] for name, of_value in means.items()]
        best = [
            f"{m} is highest at {max(means, key=lambda name: means[name][m].mean)}"
            for m in used
            if m in SWEPT_METRICS and means and all(m in of_value for of_value in means.values())
        ]
        sentences.append(f"* {sweep}: {', '.join(best) or 'nothing was made'}.")
        certain = certain and all(e.is_interval for of_value in means.values() for e in of_value.values())
    count = max((len(rs) for values in results.sweeps.values() for rs in values.values()), default=0)
    few = "" if certain else "  Too few groups for an interval: which value is best for other subjects is inconclusive."
    default = {f"the defaults: {PAPER_DEFAULTS}": PAPER["VideoMage"]}
    paper = [[n, *("" if v is None else str(v) for v in vs)] for n, vs in {**default, **PAPER_SWEEPS}.items()]
    published = table(["", *PAPER_METRICS], paper)
    parts = [f"{count} cells a value.{few}", table(["", *used], rows), "\n".join(sentences)]
    parts.append("The paper's, on ZeroScope with CLIP and DINO, where its defaults do best in most:\n\n" + published)
    return "\n\n".join(parts)


def cost(results: Results) -> str:
    """Seconds and memory of each method's videos, and of each kind of training."""
    records = [*results.with_motion, *results.no_motion]
    names = list(dict.fromkeys(r.method for r in records))
    rows = []
    for name in names:
        own = [r for r in results.with_motion if r.method == name] or [r for r in records if r.method == name]
        memory = [r.memory_mb for r in own if r.memory_mb is not None]
        rows.append([name, f"{median(r.seconds for r in own):.1f}", f"{median(memory):.0f}" if memory else "not known"])
    text = "Seconds are of the machine as it was when each video was made, which several workers may have shared.\n\n"
    text += table(["sampling one video", "seconds, median", "memory beyond the base, MB, median"], rows)
    trained = [[kind, str(len(s)), f"{median(s):.0f}"] for kind, s in sorted(results.training.items())]
    if trained:
        text += "\n\nA video needs each of its LoRAs; a fusion needs those of its subjects, too.\n\n"
        text += table(["training, with what it generates first", "LoRAs", "seconds, median"], trained)
    return text
