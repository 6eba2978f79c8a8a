"""What speed and memory should be, what they are, and why a target is missed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.measured import PLAIN, SCS, STEP
from benchmarks.stage_steps import whole_stages
from videomage_core.presets import EMOJI, PAPER

Figures = Mapping[str, Any]
Row = tuple[str, str, str, bool | None]  # what, target, here, met (None: not known)

RATIOS = {
    SCS: ("SCS over its counted work: 2 predictions in each step, and the guidances", 1.05),
    PLAIN: ("SCS over plain guided sampling of as many steps", 2.6),
    STEP: ("a training step over the same work in diffusers and peft alone", 1.0),
}
# Peak allocated on a user's card, in GB, at most; and seconds on an H200, at most.
GIGABYTES = {"train subject": 8, "train motion": 12, "fuse": 12, "SCS": 10}
SECONDS = {"train subject": 60, "train motion": 180, "fuse": 300, "SCS": 30}
H200 = 989e12  # operations a second in half precision, dense: NVIDIA's data sheet
REACHED = 0.4  # of it, what large matrix products and convolutions commonly reach
LINEAR = 1.01  # growth over the size's own, at most

# Why a target is missed, by the first words of its row, and what comes next; shown where it is missed.
MISSES = {
    SCS: "Shares of a video's time that are not the network's: {outside}. Only decoding grows with the "
    "video. Next: switch a branch's adapters once for its prediction and its guidance together.",
    PLAIN: "Two branches in each step make 2, the guidances the rest. One takes {guidance} guided predictions' time "
    "here, in {ours} steps, and {counted} of their operations at the paper's size, in {paper}. Next: fewer layers, "
    "where docs/layers.md shows that their maps still find subjects and motion.",
    STEP: "Adapters switched around the frozen teacher's pass, and noise from a generator of each step's own. Next: "
    "time these.",
}


def target_rows(figures: Figures) -> list[Row]:
    """Every target: what, the target, here, met."""
    return [*_ratio_rows(figures), *_gigabyte_rows(figures), *_second_rows(figures)]


def why_missed(figures: Figures, rows: Sequence[Row]) -> list[str]:
    """A list entry for each target that is missed and has its cause in ``MISSES``."""
    missed = [(what, key) for what, *_, met in rows if met is False for key in MISSES if _is(key, what)]
    return [f"* {what}. {MISSES[key].format_map(_causes(figures))}" for what, key in missed]


def _causes(figures: Figures) -> dict[str, str]:
    """The measured numbers in the texts of MISSES; what was not measured says so."""
    numbers = dict.fromkeys(("outside", "guidance", "counted"), "(not measured)")
    numbers |= {"ours": f"{EMOJI.collaborative.tau} of {EMOJI.collaborative.steps}",
                "paper": f"{PAPER.collaborative.tau} of {PAPER.collaborative.steps}"}  # fmt: skip
    if "outside" in figures:
        numbers["outside"] = ", ".join(f"{name} {share:.1%}" for name, share in figures["outside"].items())
    prediction, guidance = "SCS, a prediction", "SCS, a guidance"
    if "seconds" in figures:
        numbers["guidance"] = f"{figures['seconds'][guidance] / figures['seconds'][prediction]:.2f}"
    if "counted" in figures:
        guided, predicted = (figures["counted"][step]["high"]["operations"] for step in (guidance, prediction))
        numbers["counted"] = f"{guided / predicted:.2f}"
    return numbers


def _is(key: str, what: str) -> bool:
    return what.startswith(RATIOS[key][0] if key in RATIOS else key)


def _ratio_rows(figures: Figures) -> Iterator[Row]:
    ratios = {**figures.get("sampling", {}), **figures.get("training", {})}
    for name, (what, target) in RATIOS.items():
        if name not in ratios:
            yield what, str(target), "not measured", None
            continue
        said = ratio_of(ratios[name])
        if name == PLAIN and "counted" in figures:
            done = _operations(figures["counted"])
            without = sum(v for k, v in done["SCS"].items() if "inversion" not in k and "encoding" not in k)
            said += f"; operations at the paper's size: {without / sum(done['plain sampling'].values()):.2f}"
        yield what, str(target), said, round(ratios[name]["median"], 2) <= target


def _gigabyte_rows(figures: Figures) -> Iterator[Row]:
    for stage, limit in GIGABYTES.items():
        what = f"{stage}, peak GB at the paper's size"
        if "counted" not in figures:
            yield what, str(limit), "not counted", None
            continue
        peaks = _peaks(figures["counted"], stage)
        meeting = [mode for mode, gb in peaks.items() if gb <= limit]
        said = ", ".join(f"{mode} {gb:.1f}" for mode, gb in peaks.items())
        yield what, str(limit), f"counted: {said}; met in {', '.join(meeting) or 'no mode'}", bool(meeting)


def _second_rows(figures: Figures) -> Iterator[Row]:
    for stage, limit in SECONDS.items():
        what = f"{stage}, seconds on an H200"
        if "gpu" in figures:
            mode, taken = _gpu_seconds(figures["gpu"]["steps"], stage)
            said, is_h200 = f"{taken:.0f}, steps timed in {mode}", "H200" in figures["gpu"]["device"]
            yield what, str(limit), said if is_h200 else f"on another card {said}", taken <= limit if is_h200 else None
        elif "counted" in figures:
            estimate = sum(_operations(figures["counted"])[stage].values()) / (REACHED * H200)
            yield what, str(limit), f"not measured; from counted operations {estimate:.0f}", None
        else:
            yield what, str(limit), "not measured", None


def _peaks(counted: Figures, stage: str) -> dict[str, float]:
    """Mode -> GB at the most, over all steps of a stage."""
    modes = next(iter(counted.values()))
    return {mode: max(gigabytes(counted[step][mode]) for step in whole_stages(PAPER)[stage]) for mode in modes}


def gigabytes(one: Figures) -> float:
    """All that one counted step holds at a time."""
    return (one["weights"] + one["loras"] + one["activations"]) / 1e9


def _operations(counted: Figures) -> dict[str, dict[str, float]]:
    """Stage -> step -> operations of all of them, in the memory mode high."""
    return {
        stage: {step: times * counted[step]["high"]["operations"] for step, times in steps.items()}
        for stage, steps in whole_stages(PAPER).items()
    }


def _gpu_seconds(steps: Figures, stage: str) -> tuple[str, float]:
    """The fastest mode in which all of a stage's steps fit, and its seconds."""
    counts, taken = whole_stages(PAPER)[stage], {}
    for mode in next(iter(steps.values())):
        if all("seconds" in steps[step][mode] for step in counts):
            taken[mode] = sum(n * statistics.median(steps[step][mode]["seconds"]) for step, n in counts.items())
    return min(taken.items(), key=lambda one: one[1]) if taken else ("no mode", float("inf"))


def yes_or_no(met: bool | None) -> str:
    """A table's word for whether a target is met."""
    return "not known" if met is None else "yes" if met else "**no**"


def ratio_of(one: Figures) -> str:
    """A ratio of a run's rounds: the median, smallest and largest."""
    return f"{one['median']:.2f} ({one['low']:.2f} to {one['high']:.2f})"
