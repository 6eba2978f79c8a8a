"""How fast and how small: ratios measured in one run on this machine, and what the paper's size takes, counted.

python benchmarks/speed.py                  the embedded base, and ZeroScope's size without values: any machine
python benchmarks/speed.py --device cuda    ZeroScope's size with random weights too, in seconds and GB: a GPU

Writes docs/speed.json, docs/speed.md and docs/images/speed_memory.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from counting import Counted, count, zeroscope
from measured import measured
from PIL import Image
from stage_steps import of_size, stage_steps
from timing import Ratio, seconds

from videomage_core.evaluation.statistics import Estimate
from videomage_core.evaluation.sweep_plot import sweep_plot
from videomage_core.model.memory import MODES
from videomage_core.model.unet3d import UNet3DBackbone, load_unet3d
from videomage_core.presets import PAPER

DOCS = Path(__file__).parents[1] / "docs"
# Peak allocated on a user's card, in GB, at most; and seconds on an H200, at most.
GIGABYTES = {"train subject": 8, "train motion": 12, "fuse": 12, "SCS, a prediction": 10, "SCS, a guidance": 10}
SECONDS = {"train subject": 60, "train motion": 180, "fuse": 300, "SCS": 30}
H200 = 989e12  # operations a second in half precision, dense: NVIDIA's data sheet
SIZES = {
    "frames": [(f, 320, 576, 2) for f in (8, 16, 24, 32)],
    "share of the paper's pixels": [(24, 160, 288, 2), (24, 224, 416, 2), (24, 320, 576, 2), (24, 448, 832, 2)],
    "subjects that are fused": [(24, 320, 576, n) for n in (2, 3, 4, 6)],
}


def counted() -> dict[str, dict[str, Counted]]:
    """Stage and memory mode -> one step at the paper's size."""
    base = zeroscope()
    steps = stage_steps(base, PAPER)
    return {stage: {mode: count(base, step, mode) for mode in MODES} for stage, step in steps.items()}


def growth() -> dict[str, dict[str, list[float]]]:
    """What grows -> stage -> GB of activations in the memory mode medium."""
    base, found = zeroscope(), {}
    for what, sizes in SIZES.items():
        stages = ["fuse"] if "subjects" in what else ["train motion", "SCS, a guidance"]
        found[what] = {
            stage: [
                count(base, stage_steps(base, of_size(PAPER, f, h, w), n)[stage], "medium", False).activations / 1e9
                for f, h, w, n in sizes
            ]
            for stage in stages
        }
    return found


def on_gpu(device: torch.device) -> dict[str, Any]:
    """ZeroScope's size with random weights: seconds of a step and the peak allocated, in each memory mode."""
    base = random_zeroscope(device)
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(device)}
    for stage, step in stage_steps(base, PAPER).items():
        for mode in MODES:
            torch.cuda.empty_cache()
            try:
                base.use_memory(MODES[mode], device)
                with step() as (job, _):
                    job()
                    torch.cuda.reset_peak_memory_stats(device)
                    times = sorted(seconds(job, device) for _ in range(5))
                peak = torch.cuda.max_memory_allocated(device) / 1e9
                found[f"{stage}, {mode}"] = {"seconds": times, "gigabytes": peak}
            except torch.cuda.OutOfMemoryError:
                found[f"{stage}, {mode}"] = {"out of memory": True}
    return found


def random_zeroscope(device: torch.device) -> UNet3DBackbone:
    """ZeroScope's shapes in half precision with small random weights."""
    base = zeroscope()
    for part in (base.unet, base.vae, base.prompts.text_encoder):
        for module in part.modules():
            module.__dict__.pop("to", None)
        part.to_empty(device=device)
        for name, weight in part.named_parameters():
            with torch.no_grad():
                weight.fill_(0 if name.endswith("bias") else 1) if weight.ndim < 2 else weight.uniform_(-0.03, 0.03)
    ids = base.prompts.text_encoder.get_buffer("text_model.embeddings.position_ids")
    ids.copy_(torch.arange(ids.shape[-1]).expand_as(ids))
    return base


def totals(found: Mapping[str, Mapping[str, Counted]]) -> dict[str, float]:
    """Operations of whole stages at the paper's settings, in the memory mode high."""
    step = {stage: modes["high"].operations for stage, modes in found.items()}
    video = PAPER.collaborative
    return {
        "train subject": PAPER.subject.steps * step["train subject"],
        "train motion": PAPER.motion.steps * step["train motion"],
        "fuse": PAPER.fusion.steps * step["fuse"],
        "SCS": 2 * video.steps * step["SCS, a prediction"] + video.tau * step["SCS, a guidance"],
    }


# --- the report


def report(found: Mapping[str, Any]) -> str:
    ratios: Mapping[str, Ratio] = found["ratios"]
    scs, plain, training = (ratios[name] for name in list(ratios)[:3])
    rounds = max(r.rounds for r in ratios.values())
    stages: Mapping[str, Mapping[str, Counted]] = found["counted"]
    lines = [
        "# Speed and memory",
        "",
        f"Written by `make speed` on {found['machine']}. Ratios are measured by turns in one run and given as the",
        f"median of {scs.rounds} to {rounds} rounds (smallest to largest). {found['gpu note']}",
        "",
        "## Targets",
        "",
        "| what | target | here |",
        "|---|---|---|",
        f"| SCS over its counted work: 2 predictions in each step, and the guidances | 1.05 | {scs} |",
        f"| SCS over plain guided sampling of as many steps; the paper's settings count 2.6 | 2.6 | {plain} |",
        f"| a training step over the same work in diffusers and peft alone | 1.0 | {training} |",
    ]
    for stage, limit in GIGABYTES.items():
        modes = ", ".join(f"{mode} {one.gigabytes:.1f}" for mode, one in stages[stage].items())
        lines.append(f"| {stage}, peak at the paper's size, GB, counted | {limit} | {modes} |")
    lines += ["", *_estimates(found), "", *_counted(stages), "", *_growth(found["growth"]), "", *_savings(ratios), ""]
    return "\n".join([*lines, NOTES])


def _estimates(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Time at the paper's size, estimated",
        "",
        f"Operations are counted; the seconds are theirs at 40 % of an H200's {H200 / 1e12:.0f} Tflop/s (dense, half "
        "precision), what large matrix products and convolutions commonly reach. No stage was timed on a GPU."
        if not found["gpu"]
        else "",
        "",
        "| stage | Pflop | estimated seconds | target seconds |",
        "|---|---|---|---|",
    ]
    for stage, work in totals(found["counted"]).items():
        lines.append(f"| {stage} | {work / 1e15:.1f} | {work / (0.4 * H200):.0f} | {SECONDS[stage]} |")
    return lines


def _counted(stages: Mapping[str, Mapping[str, Counted]]) -> list[str]:
    lines = [
        "## One step at the paper's size, counted",
        "",
        "24 frames of 576x320 pixels, ZeroScope's shapes, fp16, LoRAs of rank 4 (fused: 8). GB of 1e9 bytes.",
        "",
        "| stage | memory mode | weights | LoRAs | activations | together | Tflop |",
        "|---|---|---|---|---|---|---|",
    ]
    for stage, modes in stages.items():
        for mode, one in modes.items():
            parts = " | ".join(f"{value / 1e9:.2f}" for value in (one.weights, one.loras, one.activations))
            lines.append(f"| {stage} | {mode} | {parts} | {one.gigabytes:.2f} | {one.operations / 1e12:.1f} |")
    return lines


def _growth(found: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    lines = ["## How memory grows", "", "GB of activations in the memory mode medium, counted.", ""]
    for what, stages in found.items():
        values = _values(what)
        lines += [f"| {what} | {' | '.join(values)} |", "|---" * (len(values) + 1) + "|"]
        lines += [f"| {stage} | {' | '.join(f'{gb:.2f}' for gb in grown)} |" for stage, grown in stages.items()]
        lines.append("")
    return [*lines, "![GB of activations](images/speed_memory.png)"]


def _values(what: str) -> list[str]:
    if what == "frames":
        return [str(f) for f, *_ in SIZES[what]]
    if "pixels" in what:
        return [f"{h * w / (320 * 576):.2f}" for _, h, w, _ in SIZES[what]]
    return [str(n) for *_, n in SIZES[what]]


def memory_plot(found: Mapping[str, Mapping[str, Sequence[float]]]) -> Image.Image:
    """A row for what grows, a panel for each stage."""
    rows = [
        sweep_plot(_values(what), {s: [Estimate(gb, gb, gb) for gb in grown] for s, grown in stages.items()})
        for what, stages in found.items()
    ]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _savings(ratios: Mapping[str, Ratio]) -> list[str]:
    lines = [
        "## What each saving gives",
        "",
        "Time with it over time without, on the embedded base, on this machine.",
        "",
    ]
    lines += ["| saving | ratio |", "|---|---|"]
    return [*lines, *(f"| {name} | {found} |" for name, found in list(ratios.items())[3:])]


NOTES = """## What was not built, and why

* Both branches in one batch: the ratio above shows what it gives where it was measured. It would need a LoRA forward
  that tells the branches' rows apart in every layer, and merged weights could not be used.
* `torch.compile` and channels-last: not tried on a GPU, so not offered. Each switch of adapters between the branches
  would be a recompilation or a graph of its own.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cuda: measure ZeroScope's size on a GPU too")
    parser.add_argument("--rounds", type=int, default=9, help="of each measurement (%(default)s)")
    options = parser.parse_args()
    device = torch.device(options.device)
    gpu = on_gpu(device) if device.type == "cuda" else None
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    found = {
        "machine": f"{platform.machine()}, {threads}, torch {torch.__version__}",
        "gpu": gpu,
        "gpu note": "Nothing here ran on a GPU." if gpu is None else f"GPU: {gpu['device']}.",
        "counted": counted(),
        "growth": growth(),
        "ratios": measured(load_unet3d(dtype="fp32", device="cpu"), options.rounds),
    }
    (DOCS / "speed.json").write_text(json.dumps(found, default=_plain, indent=1) + "\n", encoding="utf-8")
    memory_plot(found["growth"]).save(DOCS / "images" / "speed_memory.png")
    (DOCS / "speed.md").write_text(report(found), encoding="utf-8")
    print(report(found))


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value)


if __name__ == "__main__":
    main()
