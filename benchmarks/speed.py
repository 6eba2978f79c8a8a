"""How fast and how small: ratios measured in one run on this machine, and what the paper's size takes, counted.

python -m benchmarks.speed                  the built-in base, and ZeroScope's size without values: any machine
python -m benchmarks.speed --device cuda    ZeroScope's size with random weights too, in seconds and GB: a GPU
python -m benchmarks.speed --parts savings  one part anew; the others stay as docs/speed.json has them

Writes docs/speed.json, docs/speed.md and docs/images/speed.png after each part, so a stop loses no more than one.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.counting import Counted, count, eight_bit, zeroscope
from benchmarks.layouts import channels_last, compiled
from benchmarks.measured import of_sampling, of_training, outside_the_network
from benchmarks.savings import of_savings
from benchmarks.speed_report import growth_plot, report
from benchmarks.stage_steps import of_size, stage_steps
from benchmarks.timing import seconds
from videomage_core.model.loading import load_unet3d
from videomage_core.model.memory import MODES
from videomage_core.model.unet3d import UNet3DBackbone
from videomage_core.presets import EMOJI, PAPER, Preset

DOCS = Path(__file__).parents[1] / "docs"
SIZES = {
    "frames": [(f, 320, 576, 2) for f in (8, 16, 24, 32)],
    "share of the paper's pixels": [(24, 160, 288, 2), (24, 224, 416, 2), (24, 320, 576, 2), (24, 448, 832, 2)],
    "subjects that are fused": [(24, 320, 576, n) for n in (2, 3, 4, 6)],
}


def counted() -> dict[str, dict[str, Counted]]:
    """Step and memory mode -> what it takes at the paper's size; "low" does the operations of "medium"."""
    base = zeroscope()
    steps = stage_steps(base, PAPER)
    of_steps = {name: {mode: count(base, step, mode, mode != "low") for mode in MODES} for name, step in steps.items()}
    base = zeroscope(torch.bfloat16)  # needs no loss scale, for which fp16 keeps its graph
    step = stage_steps(base, PAPER)["SCS, a guidance"]
    return {
        **of_steps,
        "SCS, a guidance, in bf16": {mode: count(base, step, mode, with_operations=False) for mode in MODES},
    }


def growth() -> dict[str, dict[str, Any]]:
    """What grows -> its "values", in numbers, and of each step GB beyond the base's weights and Tflop, in "medium"."""
    base, curves = zeroscope(), {}
    for what, sizes in SIZES.items():
        curves[what] = {
            "values": [n if "subjects" in what else f if what == "frames" else h * w / (320 * 576)
                       for f, h, w, n in sizes],
            "steps": {step: _grown(base, step, sizes) for step in _growing_steps(what)},
        }  # fmt: skip
    return curves


# On the built-in base, whose own size is 8 frames of 48x48 pixels, seconds are measured.
SMALL_SIZES = {
    "frames": [(f, 48, 48, 2) for f in (8, 16, 24, 32)],
    "share of the base's own pixels": [(8, side, side, 2) for side in (48, 72, 96, 120)],
    "subjects that are fused": [(8, 48, 48, n) for n in (2, 3, 4, 6)],
}


def growth_in_seconds(base: UNet3DBackbone) -> dict[str, dict[str, Any]]:
    """As ``growth``, with the "seconds" of each step on the built-in base: the median of five, warmed."""
    curves = {}
    for what, sizes in SMALL_SIZES.items():
        curves[what] = {
            "values": [n if "subjects" in what else f if what == "frames" else h * w / 48**2 for f, h, w, n in sizes],
            "steps": {
                step: {"seconds": [_seconds_of(base, step, size) for size in sizes]} for step in _growing_steps(what)
            },
        }
    return curves


def _seconds_of(base: UNet3DBackbone, name: str, size: tuple[int, int, int, int]) -> float:
    frames, height, width, subjects = size
    with stage_steps(base, of_size(EMOJI, frames, height, width), subjects)[name]() as (job, _):
        job()
        return statistics.median(seconds(job, torch.device("cpu")) for _ in range(5))


def _growing_steps(what: str) -> list[str]:
    return ["fuse"] if "subjects" in what else ["train motion", "SCS, a prediction", "SCS, a guidance"]


def _grown(base: UNet3DBackbone, step: str, sizes: list[tuple[int, int, int, int]]) -> dict[str, list[float]]:
    grown = [count(base, stage_steps(base, of_size(PAPER, f, h, w), n)[step], "medium") for f, h, w, n in sizes]
    return {
        "GB": [(one.activations + one.loras) / 1e9 for one in grown],
        "Tflop": [one.operations / 1e12 for one in grown],
    }


def each_step(base: UNet3DBackbone, preset: Preset) -> dict[str, float]:
    """Seconds of each step on a base of this machine's processor: the median of three, warmed."""
    medians, here = {}, torch.device("cpu")
    for name, step in stage_steps(base, preset).items():
        with step() as (job, _):
            job()
            medians[name] = statistics.median(seconds(job, here) for _ in range(3))
    return medians


def on_device(base: UNet3DBackbone, preset: Preset, device: torch.device, runs: int = 5) -> dict[str, dict[str, Any]]:
    """Step and memory mode -> "seconds" of each run, and on a GPU the peak allocated, in "GB"; or "out of memory"."""
    results: dict[str, dict[str, Any]] = {}
    for name, step in stage_steps(base, preset).items():
        results[name] = {}
        for mode in MODES:
            gc.collect()
            try:
                base.use_memory(MODES[mode], device)
                with step() as (job, _):
                    job()
                    if device.type == "cuda":
                        torch.cuda.empty_cache()
                        torch.cuda.reset_peak_memory_stats(device)
                    results[name][mode] = {"seconds": sorted(seconds(job, device) for _ in range(runs))}
                if device.type == "cuda":
                    results[name][mode]["GB"] = torch.cuda.max_memory_allocated(device) / 1e9
            except torch.OutOfMemoryError:
                results[name][mode] = {"out of memory": True}
    return results


def random_weights(base: UNet3DBackbone, device: torch.device) -> UNet3DBackbone:
    """A base without values gets small random weights."""
    for part in (base.unet, base.vae, base.prompts.text_encoder):
        for module in part.modules():
            module.__dict__.pop("to", None)
        part.to_empty(device=device)
        with torch.no_grad():
            for name, weight in part.named_parameters():
                weight.fill_(0 if name.endswith("bias") else 1) if weight.ndim < 2 else weight.uniform_(-0.03, 0.03)
            for name, places in part.named_buffers():
                if not name.endswith("position_ids"):
                    raise ValueError(f"buffer: {name} is not known, and would be left without values")
                places.copy_(torch.arange(places.shape[-1]).expand_as(places))
    return base


def parts(device: torch.device, rounds: int) -> dict[str, Callable[[], Any]]:
    """What is measured, by its name in the JSON, in this order."""

    def built_in() -> UNet3DBackbone:
        return load_unet3d(dtype="fp32", device="cpu")

    measurements: dict[str, Callable[[], Any]] = {
        "counted": counted,
        "growth": growth,
        "eight_bit": lambda: eight_bit(zeroscope()),
        "seconds": lambda: each_step(built_in(), EMOJI),
        "growth_in_seconds": lambda: growth_in_seconds(built_in()),
        "sampling": lambda: of_sampling(built_in(), max(3, rounds // 2) if rounds > 1 else 1),
        "outside": lambda: outside_the_network(built_in()),
        "training": lambda: of_training(built_in(), rounds),
        "savings": lambda: of_savings(built_in(), rounds),
        "channels_last": lambda: channels_last(built_in(), rounds),
        "compiled": lambda: compiled(built_in(), rounds),
    }
    if device.type == "cuda":
        measurements["gpu"] = lambda: {
            "device": torch.cuda.get_device_name(device),
            "steps": on_device(random_weights(zeroscope(torch.bfloat16), device), PAPER, device),
        }
    return measurements


def write(results: dict[str, Any], folder: Path) -> str:
    """All results so far, as JSON, as a plot and as the report that is returned."""
    (folder / "speed.json").write_text(
        json.dumps(results, default=dataclasses.asdict, indent=1) + "\n", encoding="utf-8"
    )
    figures = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    if "growth" in figures:
        growth_plot(figures["growth"]).save(folder / "images" / "speed.png")
    text = report(figures)
    (folder / "speed.md").write_text(text, encoding="utf-8")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cuda: measure ZeroScope's size on a GPU too")
    parser.add_argument("--rounds", type=int, default=9, help="of each measurement (%(default)s)")
    parser.add_argument("--parts", nargs="*", help="measure these alone (default: all); none: write the report anew")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where to write (%(default)s)")
    options = parser.parse_args()
    (options.docs / "images").mkdir(parents=True, exist_ok=True)
    known = parts(torch.device(options.device), options.rounds)
    chosen = list(known) if options.parts is None else options.parts
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        parser.error(f"--parts: got {', '.join(unknown)}, allowed: {', '.join(known)}")
    path, results = options.docs / "speed.json", dict[str, Any]()
    if options.parts is not None and path.is_file():
        results = json.loads(path.read_text(encoding="utf-8"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch"
    text = write(results, options.docs) if not chosen else ""
    for name in chosen:
        began = time.monotonic()
        results[name] = known[name]()
        results.setdefault("machine", {})[name] = f"{machine} {torch.__version__}"
        text = write(results, options.docs)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    print(text)


if __name__ == "__main__":
    main()
