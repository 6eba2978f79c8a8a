"""The paper's claims, each as a comparison that was fixed before anything was run; metrics may get sharper since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .benchmark import Record, Results
from .grid import Cell
from .methods import FULL
from .statistics import Estimate, paired

Task = Literal["with_motion", "no_motion", "three_subjects"]

# The paper's metrics and what stands for them where no CLIP or DINO can be had.
IDENTITY = ("identity", "CLIP-I", "DINO-I")
TEXT = ("text alignment", "CLIP-T")
CONSISTENCY = ("temporal consistency", "T. Cons.")
MOTION, LEAKAGE, MIXING = ("motion fidelity",), ("appearance leakage",), ("attribute mixing",)


@dataclass(frozen=True)
class Hypothesis:
    """One claim.

    Attributes:
        text: what the paper says, and where; "(ours)" if it says no such thing.
        metrics: in which it should show, each by itself.
        better, worse: the methods compared.
        task: on which cells.
        margin: 0: better is to be better; more: not worse by more than this.
    """

    text: str
    metrics: tuple[str, ...]
    better: str
    worse: str
    task: Task = "with_motion"
    margin: float = 0.0


HYPOTHESES = (
    Hypothesis(
        "Subjects keep their identity better than with MotionDirector (Table 1)", IDENTITY, FULL, "MotionDirector"
    ),
    Hypothesis("The text is followed better than by MotionDirector (Table 1)", TEXT, FULL, "MotionDirector"),
    Hypothesis(
        "Temporal consistency is comparable to MotionDirector's (Table 1)",
        CONSISTENCY,
        FULL,
        "MotionDirector",
        margin=0.02,
    ),
    Hypothesis("The motion is followed better than by MotionDirector (Fig. 5)", MOTION, FULL, "MotionDirector"),
    Hypothesis("Appearance leaks less than with MotionDirector (Fig. 4)", LEAKAGE, FULL, "MotionDirector"),
    Hypothesis("Attributes mix less than with MotionDirector (Fig. 4)", MIXING, FULL, "MotionDirector"),
    Hypothesis("L_mot: without it the performers' appearance leaks (Sec. 4.2)", LEAKAGE, FULL, "without L_mot"),
    Hypothesis("L_mot: without it identity is worse (Table 2)", IDENTITY, FULL, "without L_mot"),
    Hypothesis("L_mot: without it the text is followed worse (Table 2)", TEXT, FULL, "without L_mot"),
    Hypothesis("L_attn: without it attributes mix (Sec. 4.2)", MIXING, FULL, "without L_attn"),
    Hypothesis("L_attn: without it identity is worse (Table 2)", IDENTITY, FULL, "without L_attn"),
    Hypothesis("L_attn: without it the text is followed worse (Table 2)", TEXT, FULL, "without L_attn"),
    Hypothesis(
        "SCS: without it subjects do not interact as the clip does (Sec. 4.2)",
        MOTION,
        FULL,
        "without SCS",
    ),
    Hypothesis("SCS: without it identity is worse (Table 2)", IDENTITY, FULL, "without SCS"),
    Hypothesis("SCS: without it the text is followed worse (Table 2)", TEXT, FULL, "without SCS"),
    Hypothesis("SCS: its guidance helps the motion (ours, of L_m->s, Eq. 10)", MOTION, FULL, "without guidance"),
    Hypothesis("SCS: its guidance helps identity (ours, of L_s->m, Eq. 10)", IDENTITY, FULL, "without guidance"),
    Hypothesis(
        "Without a motion, fused subjects keep their identity better than averaged ones (ours; Table 4 compares with "
        "other methods)",
        IDENTITY,
        FULL,
        "averaged outputs",
        "no_motion",
    ),
    Hypothesis("More than two subjects can be had (Sec. 8.3)", IDENTITY, FULL, "the base alone", "three_subjects"),
)


@dataclass(frozen=True)
class Verdict:
    """What was found: paired differences, better minus worse, so that more is better.

    Attributes:
        claim: what was asked.
        metric: in which.
        difference: over all cells; None if nothing was run.
        by_motion: the same mean for each motion: methods that learn the motion otherwise have one training of each.
    """

    hypothesis: Hypothesis
    metric: str
    difference: Estimate | None
    by_motion: Mapping[str, float]

    @property
    def verdict_population(self) -> str:
        """For other subjects like these: significant, contradicted, inconclusive or not run.

        Not inconclusive only with the same sign in every motion.
        """
        if self.difference is None:
            return "not run"
        least = -self.hypothesis.margin
        signs = {mean > least for mean in self.by_motion.values()}
        verdict_population = verdict_of(self.difference, least)[0]
        return verdict_population if not signs or signs == {verdict_population == "significant"} else "inconclusive"

    @property
    def verdict_sample(self) -> str:
        """The same for these subjects and LoRAs, if other videos were made with them."""
        return "not run" if self.difference is None else verdict_of(self.difference, -self.hypothesis.margin)[1]


def verdict_of(difference: Estimate, least: float = 0.0) -> tuple[str, str]:
    """For other subjects, and for these: whether a difference is above ``least`` ("significant") or below it.

    Returns:
        "significant", "contradicted" or "inconclusive", twice.
    """
    return (
        _word(difference.low, difference.high, least) if difference.is_interval else "inconclusive",
        "inconclusive"
        if difference.within is None
        else _word(difference.mean - difference.within, difference.mean + difference.within, least),
    )


def _word(low: float, high: float, least: float) -> str:
    return "significant" if low > least else "contradicted" if high < least else "inconclusive"


def judge_hypotheses(results: Results, more_is_better: Mapping[str, bool]) -> list[Verdict]:
    """Every claim in each of these metrics; where less is better, the sign is turned."""
    return [
        _judged(hypothesis, metric, results, more_is_better[metric])
        for hypothesis in HYPOTHESES
        for metric in hypothesis.metrics
        if metric in more_is_better
    ]


def _judged(hypothesis: Hypothesis, metric: str, results: Results, more: bool) -> Verdict:
    records = getattr(results, hypothesis.task)
    better, worse = (scores_of(records, name, metric) for name in (hypothesis.better, hypothesis.worse))
    both = better.keys() & worse.keys()
    if not both:
        return Verdict(hypothesis, metric, None, {})
    first, second = (better, worse) if more else (worse, better)
    motions = sorted({cell.motion for cell in both if cell.motion is not None})
    by_motion = {
        motion: paired({c: v for c, v in first.items() if c.motion == motion}, second, subjects_of).mean
        for motion in motions
    }
    return Verdict(hypothesis, metric, paired(first, second, subjects_of), by_motion)


def subjects_of(cell: Cell) -> tuple[str, ...]:
    """What a cell's value is not independent of, in whatever roles."""
    return tuple(sorted(cell.subjects))


def scores_of(records: Sequence[Record], method: str, metric: str) -> dict[Cell, float]:
    """One method's values of one metric, by cell."""
    return {r.cell: r.scores[metric] for r in records if r.method == method and metric in r.scores}
