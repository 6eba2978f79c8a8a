"""docs/speed.md and its plot, from what ``speed.py`` found: JSON, in which parts may be missing yet."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from benchmarks.measured import PLAIN, SCS, STEP
from benchmarks.stage_steps import whole_stages
from videomage_core.evaluation.statistics import Estimate
from videomage_core.evaluation.sweep_plot import sweep_plot
from videomage_core.presets import EMOJI, PAPER

Found = Mapping[str, Any]
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
    SCS: "Shares of a video's time that are not the network's: {beside}. Only decoding grows with the "
    "video. Next: switch a branch's adapters once for its prediction and its guidance together.",
    PLAIN: "Two branches in each step make 2, the guidances the rest. One takes {guidance} guided predictions' time "
    "here, in {ours} steps, and {counted} of their operations at the paper's size, in {paper}. Next: fewer layers, "
    "where docs/layers.md shows that their maps still find subjects and motion.",
    STEP: "Adapters switched around the frozen teacher's pass, and noise from a generator of each step's own. Next: "
    "time these.",
}

# Counted once, of a prediction's operations, by kind: at 2.02 and at 0.25 of the paper's pixels.
NOT_LINEAR = """More than linear: operations with pixels, since spatial self-attention compares each place with each
other. Over these sizes its products (and the little of the other attentions) grew 39 times, to 14 % of a prediction,
all other operations 7.8 times. A guidance's memory with frames, since a temporal map has frames x frames values at
each place."""

NOT_BUILT = """## What was not built, and why

* Both branches in one batch: the ratio above shows what it gives where it was measured. It would need a LoRA forward
  that tells the branches' rows apart in every layer, and merged weights could not be used.
"""


def report(found: Found) -> str:
    """The whole of docs/speed.md."""
    lines = ["# Speed and memory", "", "Written by `make speed`.", *_machines(found), "", "## Targets", ""]
    rows = [*_ratio_rows(found), *_gigabyte_rows(found), *_second_rows(found)]
    lines += ["| what | target | here | met |", "|---|---|---|---|"]
    lines += [f"| {what} | {target} | {here} | {_word(met)} |" for what, target, here, met in rows]
    missed = [(what, key) for what, *_, met in rows if met is False for key in MISSES if _is(key, what)]
    if missed:
        numbers = _causes(found)
        lines += ["", "Where a target is missed:", ""]
        lines += [f"* {what}. {MISSES[key].format_map(numbers)}" for what, key in missed]
    sections = (_times, _gpu, _counted, _growth, _savings, _layouts)
    for section in sections:
        lines += ["", *section(found)]
    return "\n".join([*lines, "", NOT_BUILT])


def _causes(found: Found) -> dict[str, str]:
    """The measured numbers in the texts of MISSES; what was not measured says so."""
    numbers = dict.fromkeys(("beside", "guidance", "counted"), "(not measured)")
    numbers |= {"ours": f"{EMOJI.collaborative.tau} of {EMOJI.collaborative.steps}",
                "paper": f"{PAPER.collaborative.tau} of {PAPER.collaborative.steps}"}  # fmt: skip
    if "beside" in found:
        numbers["beside"] = ", ".join(f"{name} {share:.1%}" for name, share in found["beside"].items())
    prediction, guidance = "SCS, a prediction", "SCS, a guidance"
    if "seconds" in found:
        numbers["guidance"] = f"{found['seconds'][guidance] / found['seconds'][prediction]:.2f}"
    if "counted" in found:
        guided, predicted = (found["counted"][step]["high"]["operations"] for step in (guidance, prediction))
        numbers["counted"] = f"{guided / predicted:.2f}"
    return numbers


def _is(key: str, what: str) -> bool:
    return what.startswith(RATIOS[key][0] if key in RATIOS else key)


def _word(met: bool | None) -> str:
    return "not known" if met is None else "yes" if met else "**no**"


def _machines(found: Found) -> list[str]:
    machines = sorted(set(found.get("machine", {}).values()))
    gpu = found["gpu"]["device"] if "gpu" in found else None
    ratios = "Ratios are medians of rounds by turns in one run (smallest to largest), on the embedded base."
    counts = (
        "Counts are of tensors without values, at the paper's size: 24 frames of 576x320 pixels, ZeroScope's shapes, "
    )
    counts += "fp16, LoRAs of rank 4 (fused: 8), GB of 1e9 bytes. They leave out an operation's own workspace."
    return [*(f"Machine: {m}." for m in machines), ratios, counts, f"GPU: {gpu}." if gpu else "Nothing ran on a GPU."]


# --- the targets


def _ratio_rows(found: Found) -> Iterator[Row]:
    ratios = {**found.get("sampling", {}), **found.get("training", {})}
    for name, (what, target) in RATIOS.items():
        if name not in ratios:
            yield what, str(target), "not measured", None
            continue
        said = _ratio(ratios[name])
        if name == PLAIN and "counted" in found:
            done = _operations(found["counted"])
            without = sum(v for k, v in done["SCS"].items() if "inversion" not in k and "encoding" not in k)
            said += f"; operations at the paper's size: {without / sum(done['plain sampling'].values()):.2f}"
        yield what, str(target), said, round(ratios[name]["median"], 2) <= target


def _gigabyte_rows(found: Found) -> Iterator[Row]:
    for stage, limit in GIGABYTES.items():
        what = f"{stage}, peak GB at the paper's size"
        if "counted" not in found:
            yield what, str(limit), "not counted", None
            continue
        peaks = _peaks(found["counted"], stage)
        meeting = [mode for mode, gb in peaks.items() if gb <= limit]
        said = ", ".join(f"{mode} {gb:.1f}" for mode, gb in peaks.items())
        yield what, str(limit), f"counted: {said}; met in {', '.join(meeting) or 'no mode'}", bool(meeting)


def _second_rows(found: Found) -> Iterator[Row]:
    for stage, limit in SECONDS.items():
        what = f"{stage}, seconds on an H200"
        if "gpu" in found:
            mode, taken = _gpu_seconds(found["gpu"]["steps"], stage)
            said, is_h200 = f"{taken:.0f}, steps timed in {mode}", "H200" in found["gpu"]["device"]
            yield what, str(limit), said if is_h200 else f"on another card {said}", taken <= limit if is_h200 else None
        elif "counted" in found:
            estimate = sum(_operations(found["counted"])[stage].values()) / (REACHED * H200)
            yield what, str(limit), f"not measured; from counted operations {estimate:.0f}", None
        else:
            yield what, str(limit), "not measured", None


def _peaks(counted: Found, stage: str) -> dict[str, float]:
    """Mode -> GB at the most, over all steps of a stage."""
    modes = next(iter(counted.values()))
    return {mode: max(_together(counted[step][mode]) for step in whole_stages(PAPER)[stage]) for mode in modes}


def _together(one: Found) -> float:
    return (one["weights"] + one["loras"] + one["activations"]) / 1e9


def _operations(counted: Found) -> dict[str, dict[str, float]]:
    """Stage -> step -> operations of all of them, in the memory mode high."""
    return {
        stage: {step: times * counted[step]["high"]["operations"] for step, times in steps.items()}
        for stage, steps in whole_stages(PAPER).items()
    }


def _gpu_seconds(steps: Found, stage: str) -> tuple[str, float]:
    """The fastest mode in which all of a stage's steps fit, and its seconds."""
    wanted, taken = whole_stages(PAPER)[stage], {}
    for mode in next(iter(steps.values())):
        if all("seconds" in steps[step][mode] for step in wanted):
            taken[mode] = sum(n * statistics.median(steps[step][mode]["seconds"]) for step, n in wanted.items())
    return min(taken.items(), key=lambda one: one[1]) if taken else ("no mode", float("inf"))


# --- the sections


def _times(found: Found) -> list[str]:
    """All work of each stage, by its steps."""
    lines = [
        "## Seconds by stage",
        "",
        "A stage is its steps, each timed alone on the embedded base at its preset's settings, times how often the "
        "stage takes it: two subjects, four pictures each. Not in it: the optimiser's own step, "
        "prompts encoded outside of steps, files written, and the video that the command line and the nodes make at a "
        "training's end, which costs a plain sampling.",
        "",
        "| stage | what of it | times | seconds, embedded base | times, paper | Pflop | seconds on an H200 |",
        "|---|---|---|---|---|---|---|",
    ]
    ours, seconds, counted = whole_stages(EMOJI), found.get("seconds"), found.get("counted")
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


def _gpu(found: Found) -> list[str]:
    lines = ["## On a GPU", ""]
    if "gpu" not in found:
        return [*lines, "Not measured: `python -m benchmarks.speed --device cuda --parts gpu` does it, with random "
                "weights of ZeroScope's shapes in bf16."]  # fmt: skip
    lines += [f"{found['gpu']['device']}, random weights of ZeroScope's shapes in bf16; seconds of one step (median of "
              "five, smallest to largest) and the peak allocated.", ""]  # fmt: skip
    lines += ["| step | memory mode | seconds | GB |", "|---|---|---|---|"]
    for step, modes in found["gpu"]["steps"].items():
        for mode, one in modes.items():
            if "seconds" not in one:
                lines.append(f"| {step} | {mode} | out of memory | |")
                continue
            low, middle, high = one["seconds"][0], statistics.median(one["seconds"]), one["seconds"][-1]
            gb = f"{one['GB']:.2f}" if "GB" in one else ""
            lines.append(f"| {step} | {mode} | {middle:.3f} ({low:.3f} to {high:.3f}) | {gb} |")
    return lines


def _counted(found: Found) -> list[str]:
    lines = ["## One step at the paper's size, counted", ""]
    if "counted" not in found:
        return [*lines, "Not counted yet."]
    lines += ["| step | memory mode | weights | LoRAs | activations | together, GB | Tflop |", "|---|" + "---|" * 6]
    for step, modes in found["counted"].items():
        for mode, one in modes.items():
            gb = " | ".join(f"{one[kind] / 1e9:.2f}" for kind in ("weights", "loras", "activations"))
            work = f"{one['operations'] / 1e12:.1f}" if one["operations"] else ""
            lines.append(f"| {step} | {mode} | {gb} | {_together(one):.2f} | {work} |")
    lines += ["", "LoRAs count with their gradients and AdamW's moments where they are trained. Moments in 8 bit "
              "(`--optimizer adamw8bit`), counted as bitsandbytes keeps them:", ""]  # fmt: skip
    lines += ["| training | trained weights | moments in fp32, MB | in 8 bit, MB |", "|---|---|---|---|"]
    for stage, one in found.get("eight_bit", {}).items():
        lines.append(f"| {stage} | {one['trained']:,} | {one['fp32'] / 1e6:.1f} | {one['8 bit'] / 1e6:.1f} |")
    return lines


def _growth(found: Found) -> list[str]:
    lines = ["## How memory, work and time grow", ""]
    if "growth" not in found:
        return [*lines, "Not counted yet."]
    lines += ["GB beyond the base's weights, and Tflop, of one step in the memory mode medium, counted. Linear or "
              f"better: it grew no more than the size (within {LINEAR - 1:.0%}), last over first.", ""]  # fmt: skip
    lines += [*_grown(found["growth"]), NOT_LINEAR, "", "![GB and Tflop](images/speed.png)"]
    if "growth_in_seconds" in found:
        lines += ["", "Seconds of one step on the embedded base: the median of five.", ""]
        lines += _grown(found["growth_in_seconds"])
    return lines


def _grown(growth: Found) -> Iterator[str]:
    """A table for each thing that grows."""
    for what, grown in growth.items():
        values, size = grown["values"], grown["values"][-1] / grown["values"][0]
        yield f"| {what} | | {' | '.join(_short(v) for v in values)} | grew by (size: {size:.2f}) | linear or better |"
        yield "|---" * (len(values) + 4) + "|"
        for step, kinds in grown["steps"].items():
            for kind, numbers in kinds.items():
                by = numbers[-1] / numbers[0]
                shown = " | ".join(f"{number:.2f}" for number in numbers)
                yield f"| {step} | {kind} | {shown} | {by:.2f} | {_word(by <= LINEAR * size)} |"
        yield ""


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def growth_plot(growth: Found) -> Image.Image:
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


def _savings(found: Found) -> list[str]:
    lines = ["## What each saving gives", ""]
    if "savings" not in found:
        return [*lines, "Not measured yet."]
    lines += ["Time with it over time without, on the embedded base.", "", "| saving | ratio |", "|---|---|"]
    return [*lines, *(f"| {name} | {_ratio(one)} |" for name, one in found["savings"].items())]


def _layouts(found: Found) -> list[str]:
    lines = ["## channels-last and torch.compile", ""]
    last, compiled = found.get("channels_last"), found.get("compiled")
    if last is not None:
        lines += [
            f"* channels-last weights of the {last['convolutions']} 2d convolutions: a prediction takes "
            f"{_ratio(last['ratio'])} of the time; outputs differ by {last['difference']:.0e}. {last['given']} of them "
            "were handed an input in that order; before the others frames are folded into the batch or out "
            "of it, which copies to the usual order. Not offered."
        ]
    if compiled is not None and "graphs" in compiled:
        lines += [
            f"* `torch.compile`: graphs compiled after a first prediction and after each of four switches of adapters: "
            f"{', '.join(map(str, compiled['graphs']))}; breaks in them: {compiled['broken']}."
        ]
    if compiled is not None and "ratio" in compiled:
        lines += [
            f"* A compiled prediction takes {_ratio(compiled['ratio'])} of the time, outputs differ by "
            f"{compiled['difference']:.0e}; to compile it for one set of adapters took {compiled['first']:.0f} s. Not "
            "offered: no GPU has shown what it gives there."
        ]
    if compiled is not None and "error" in compiled:
        lines += [f"* `torch.compile` failed here: `{compiled['error']}`"]
    return lines if last or compiled else [*lines, "Not measured yet."]


def _ratio(one: Found) -> str:
    return f"{one['median']:.2f} ({one['low']:.2f} to {one['high']:.2f})"
