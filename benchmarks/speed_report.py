"""docs/speed.md and its plot, from the figures of ``speed.py``: JSON, in which parts may be missing yet."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from PIL import Image

from benchmarks.speed_targets import (
    H200,
    LINEAR,
    REACHED,
    Figures,
    gigabytes,
    ratio_of,
    target_rows,
    why_missed,
    yes_or_no,
)
from benchmarks.stage_steps import whole_stages
from videomage_core.evaluation.statistics import Estimate
from videomage_core.evaluation.sweep_plot import sweep_plot
from videomage_core.presets import EMOJI, PAPER

# Counted once, of a prediction's operations, by kind: at 2.02 and at 0.25 of the paper's pixels.
NOT_LINEAR = """More than linear: operations with pixels, since spatial self-attention compares each place with each
other. Over these sizes its products (and the little of the other attentions) grew 39 times, to 14 % of a prediction,
all other operations 7.8 times. A guidance's memory with frames, since a temporal map has frames x frames values at
each place."""

NOT_BUILT = """## What was not built, and why

* Both branches in one batch: the ratio above shows what it gives where it was measured. It would need a LoRA forward
  that tells the branches' rows apart in every layer, and merged weights could not be used.
"""


def report(figures: Figures) -> str:
    """The whole of docs/speed.md."""
    lines = ["# Speed and memory", "", "Written by `make speed`.", *_machines(figures), "", "## Targets", ""]
    rows = target_rows(figures)
    lines += ["| what | target | here | met |", "|---|---|---|---|"]
    lines += [f"| {what} | {target} | {here} | {yes_or_no(met)} |" for what, target, here, met in rows]
    missed = why_missed(figures, rows)
    if missed:
        lines += ["", "Where a target is missed:", "", *missed]
    sections = (_times, _gpu, _counted, _growth, _savings, _layouts)
    for section in sections:
        lines += ["", *section(figures)]
    return "\n".join([*lines, "", NOT_BUILT])


def _machines(figures: Figures) -> list[str]:
    machines = sorted(set(figures.get("machine", {}).values()))
    gpu = figures["gpu"]["device"] if "gpu" in figures else None
    ratios = "Ratios are medians of rounds by turns in one run (smallest to largest), on the built-in base."
    counts = (
        "Counts are of tensors without values, at the paper's size: 24 frames of 576x320 pixels, ZeroScope's shapes, "
    )
    counts += "fp16, LoRAs of rank 4 (fused: 8), GB of 1e9 bytes. They leave out an operation's own workspace."
    return [*(f"Machine: {m}." for m in machines), ratios, counts, f"GPU: {gpu}." if gpu else "Nothing ran on a GPU."]


# --- the sections


def _times(figures: Figures) -> list[str]:
    """All work of each stage, by its steps."""
    lines = [
        "## Seconds by stage",
        "",
        "A stage is its steps, each timed alone on the built-in base at its preset's settings, times how often the "
        "stage takes it: two subjects, four images each. Not in it: the optimiser's own step, "
        "prompts encoded outside of steps, files written, and the video that the command line and the nodes make at a "
        "training's end, which costs a plain sampling.",
        "",
        "| stage | what of it | times | seconds, built-in base | times, paper | Pflop | seconds on an H200 |",
        "|---|---|---|---|---|---|---|",
    ]
    ours, seconds, counted = whole_stages(EMOJI), figures.get("seconds"), figures.get("counted")
    for stage, steps in whole_stages(PAPER).items():
        rows: list[tuple[str, int, float | None, int, float | None]] = []
        for step, times in steps.items():
            here = ours[stage][step] * seconds[step] if seconds else None
            done = times * counted[step]["high"]["operations"] if counted else None
            rows.append((step, ours[stage][step], here, times, done))
        for step, n, here, times, done in rows:
            lines.append(f"| {stage} | {step} | {n} | {_number(here)} | {times} | {_pflop(done)} |")
        all_here, all_done = (_sum([row[i] for row in rows]) for i in (2, 4))
        lines.append(f"| **{stage}** | **all** | | **{_number(all_here)}** | | {_pflop(all_done)} |")
    return [
        *lines,
        "",
        f"The last column is an estimate: operations, counted in the memory mode high, at {REACHED:.0%} of "
        f"{H200 / 1e12:.0f} Tflop/s, an H200's dense half precision; what reads and writes memory alone is not in it.",
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _pflop(operations: float | None) -> str:
    return " | " if operations is None else f"{operations / 1e15:.2f} | {operations / (REACHED * H200):.1f}"


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _gpu(figures: Figures) -> list[str]:
    lines = ["## On a GPU", ""]
    if "gpu" not in figures:
        return [*lines, "Not measured: `python -m benchmarks.speed --device cuda --parts gpu` does it, with random "
                "weights of ZeroScope's shapes in bf16."]  # fmt: skip
    lines += [f"{figures['gpu']['device']}, random weights of ZeroScope's shapes in bf16; seconds of one step (median "
              "of five, smallest to largest) and the peak allocated.", ""]  # fmt: skip
    lines += ["| step | memory mode | seconds | GB |", "|---|---|---|---|"]
    for step, modes in figures["gpu"]["steps"].items():
        for mode, one in modes.items():
            if "seconds" not in one:
                lines.append(f"| {step} | {mode} | out of memory | |")
                continue
            low, middle, high = one["seconds"][0], statistics.median(one["seconds"]), one["seconds"][-1]
            gb = f"{one['GB']:.2f}" if "GB" in one else ""
            lines.append(f"| {step} | {mode} | {middle:.3f} ({low:.3f} to {high:.3f}) | {gb} |")
    return lines


def _counted(figures: Figures) -> list[str]:
    lines = ["## One step at the paper's size, counted", ""]
    if "counted" not in figures:
        return [*lines, "Not counted yet."]
    lines += ["| step | memory mode | weights | LoRAs | activations | together, GB | Tflop |", "|---|" + "---|" * 6]
    for step, modes in figures["counted"].items():
        for mode, one in modes.items():
            gb = " | ".join(f"{one[kind] / 1e9:.2f}" for kind in ("weights", "loras", "activations"))
            work = f"{one['operations'] / 1e12:.1f}" if one["operations"] else ""
            lines.append(f"| {step} | {mode} | {gb} | {gigabytes(one):.2f} | {work} |")
    lines += ["", "LoRAs count with their gradients and AdamW's moments where they are trained. Moments in 8 bit "
              "(`--optimizer adamw8bit`), counted as bitsandbytes keeps them:", ""]  # fmt: skip
    lines += ["| training | trained weights | moments in fp32, MB | in 8 bit, MB |", "|---|---|---|---|"]
    for stage, one in figures.get("eight_bit", {}).items():
        lines.append(f"| {stage} | {one['trained']:,} | {one['fp32'] / 1e6:.1f} | {one['8 bit'] / 1e6:.1f} |")
    return lines


def _growth(figures: Figures) -> list[str]:
    lines = ["## How memory, work and time grow", ""]
    if "growth" not in figures:
        return [*lines, "Not counted yet."]
    lines += ["GB beyond the base's weights, and Tflop, of one step in the memory mode medium, counted. Linear or "
              f"better: it grew no more than the size (within {LINEAR - 1:.0%}), last over first.", ""]  # fmt: skip
    lines += [*_grown(figures["growth"]), NOT_LINEAR, "", "![GB and Tflop](images/speed.png)"]
    if "growth_in_seconds" in figures:
        lines += ["", "Seconds of one step on the built-in base: the median of five.", ""]
        lines += _grown(figures["growth_in_seconds"])
    return lines


def _grown(growth: Figures) -> Iterator[str]:
    """A table for each thing that grows."""
    for what, grown in growth.items():
        values, size = grown["values"], grown["values"][-1] / grown["values"][0]
        yield f"| {what} | | {' | '.join(_short(v) for v in values)} | grew by (size: {size:.2f}) | linear or better |"
        yield "|---" * (len(values) + 4) + "|"
        for step, kinds in grown["steps"].items():
            for kind, numbers in kinds.items():
                by = numbers[-1] / numbers[0]
                cells = " | ".join(f"{number:.2f}" for number in numbers)
                yield f"| {step} | {kind} | {cells} | {by:.2f} | {yes_or_no(by <= LINEAR * size)} |"
        yield ""


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def growth_plot(growth: Figures) -> Image.Image:
    """A row for what grows, a panel for GB and for Tflop of each step."""
    rows = []
    for what, grown in growth.items():
        first, *others = (_short(value) for value in grown["values"])
        panels = {
            f"{step}, {kind}": [Estimate(v, v, v, 1, 1) for v in numbers]
            for step, kinds in grown["steps"].items()
            for kind, numbers in kinds.items()
        }
        rows.append(sweep_plot([f"{what}: {first}", *others], panels, grown["values"]))
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _savings(figures: Figures) -> list[str]:
    lines = ["## What each saving gives", ""]
    if "savings" not in figures:
        return [*lines, "Not measured yet."]
    lines += ["Time with it over time without, on the built-in base.", "", "| saving | ratio |", "|---|---|"]
    return [*lines, *(f"| {name} | {ratio_of(one)} |" for name, one in figures["savings"].items())]


def _layouts(figures: Figures) -> list[str]:
    lines = ["## channels-last and torch.compile", ""]
    last, compiled = figures.get("channels_last"), figures.get("compiled")
    if last is not None:
        lines += [
            f"* channels-last weights of the {last['convolutions']} 2d convolutions: a prediction takes "
            f"{ratio_of(last['ratio'])} of the time; outputs differ by {last['difference']:.0e}. {last['given']} of "
            "them were handed an input in that order; before the others frames are folded into the batch or out "
            "of it, which copies to the usual order. Not offered."
        ]
    if compiled is not None and "graphs" in compiled:
        lines += [
            f"* `torch.compile`: graphs compiled after a first prediction and after each of four switches of adapters: "
            f"{', '.join(map(str, compiled['graphs']))}; breaks in them: {compiled['broken']}."
        ]
    if compiled is not None and "ratio" in compiled:
        lines += [
            f"* A compiled prediction takes {ratio_of(compiled['ratio'])} of the time, outputs differ by "
            f"{compiled['difference']:.0e}; to compile it for one set of adapters took {compiled['first']:.0f} s. Not "
            "offered: no GPU has shown what it gives there."
        ]
    if compiled is not None and "error" in compiled:
        lines += [f"* `torch.compile` failed here: `{compiled['error']}`"]
    return lines if last or compiled else [*lines, "Not measured yet."]
