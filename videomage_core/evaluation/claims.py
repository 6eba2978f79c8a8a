"""The paper's claims, each as a comparison that was fixed before anything was run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .benchmark import Record, Results
from .grid import Cell
from .methods import FULL
from .statistics import Estimate, paired

Task = Literal["performed", "still", "crowds"]


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        text: what the paper says, and where.
        metric: in which it should show.
        better, worse: the methods compared.
        task: on which cells.
        margin: 0: better is to be better; more: not worse by more than this.
    """

    text: str
    metric: str
    better: str
    worse: str
    task: Task = "performed"
    margin: float = 0.0


CLAIMS = (
    Claim("Subjects keep their identity better than with MotionDirector (Table 1)", "identity", FULL, "MotionDirector"),
    Claim("The same by CLIP (Table 1)", "CLIP-I", FULL, "MotionDirector"),
    Claim("The same by DINO (Table 1)", "DINO-I", FULL, "MotionDirector"),
    Claim("The text is followed better than by MotionDirector (Table 1)", "text alignment", FULL, "MotionDirector"),
    Claim(
        "Temporal consistency is comparable to MotionDirector's (Table 1)",
        "temporal consistency",
        FULL,
        "MotionDirector",
        margin=0.02,
    ),
    Claim("The motion is followed better than by MotionDirector (Fig. 5)", "motion fidelity", FULL, "MotionDirector"),
    Claim("Appearance leaks less than with MotionDirector (Fig. 4)", "appearance leakage", FULL, "MotionDirector"),
    Claim("Attributes mix less than with MotionDirector (Fig. 4)", "attribute mixing", FULL, "MotionDirector"),
    Claim("L_mot: without it the performers' appearance leaks (Sec. 4.2)", "appearance leakage", FULL, "without L_mot"),
    Claim("L_mot: without it identity is worse (Table 2)", "identity", FULL, "without L_mot"),
    Claim("L_attn: without it attributes mix (Sec. 4.2)", "attribute mixing", FULL, "without L_attn"),
    Claim("L_attn: without it identity is worse (Table 2)", "identity", FULL, "without L_attn"),
    Claim(
        "SCS: without it subjects do not interact as the clip does (Sec. 4.2)", "motion fidelity", FULL, "without SCS"
    ),
    Claim("SCS: without it identity is worse (Table 2)", "identity", FULL, "without SCS"),
    Claim("SCS: without it the text is followed worse (Table 2)", "text alignment", FULL, "without SCS"),
    Claim("SCS: its guidance helps the motion (Eq. 9, 10)", "motion fidelity", FULL, "without guidance"),
    Claim("SCS: its guidance helps identity (Eq. 9, 10)", "identity", FULL, "without guidance"),
    Claim(
        "Without a motion, fused subjects keep their identity better than averaged ones (Table 4)",
        "identity",
        FULL,
        "averaged outputs",
        "still",
    ),
    Claim("More than two subjects can be had (Sec. 8.3)", "identity", FULL, "the base alone", "crowds"),
)


@dataclass(frozen=True)
class Verdict:
    """What was found: the paired difference, better minus worse, so that more is better."""

    claim: Claim
    difference: Estimate | None

    @property
    def word(self) -> str:
        """holds, does not hold, cannot be told, or was not run."""
        if self.difference is None:
            return "was not run"
        if self.difference.low > -self.claim.margin and (self.claim.margin or self.difference.low > 0):
            return "holds"
        return "does not hold" if self.difference.high < -self.claim.margin else "cannot be told"


def judge_claims(results: Results, more_is_better: dict[str, bool]) -> list[Verdict]:
    """Every claim in these metrics against what was measured; where less is better, the sign is turned."""
    of_these = [claim for claim in CLAIMS if claim.metric in more_is_better]
    return [Verdict(claim, _difference(claim, results, more_is_better)) for claim in of_these]


def _difference(claim: Claim, results: Results, more_is_better: dict[str, bool]) -> Estimate | None:
    records = getattr(results, claim.task)
    better, worse = (scores_of(records, name, claim.metric) for name in (claim.better, claim.worse))
    if not better.keys() & worse.keys():
        return None
    first, second = (better, worse) if more_is_better[claim.metric] else (worse, better)
    return paired(first, second, subjects_of)


def subjects_of(cell: Cell) -> tuple[str, ...]:
    """What a cell's value is not independent of."""
    return cell.subjects


def scores_of(records: Sequence[Record], method: str, metric: str) -> dict[Cell, float]:
    """One method's values of one metric, by cell."""
    return {r.cell: r.scores[metric] for r in records if r.method == method and metric in r.scores}
