"""What several commands share: which base, which preset, progress in the terminal."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..callbacks import Callbacks
from ..config import SubjectConfig
from ..model.base_names import named_base


def add_base(parser: argparse.ArgumentParser) -> None:
    """Flags of every command that loads a base."""
    parser.add_argument(
        "--base", type=named_base, help="folder of a base in diffusers layout (default: the built-in base, emoji_base)"
    )
    parser.add_argument(
        "--preset",
        choices=("paper", "emoji", "wan", "emoji_wan"),
        help="where settings start from (default: what suits the base; emoji for the built-in one, wan or emoji_wan "
        "for a Wan, else paper)",
    )
    parser.add_argument("--dtype", default="auto", help="auto, fp32, fp16 or bf16 (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (%(default)s)")
    parser.add_argument(
        "--memory",
        default="auto",
        choices=("auto", "high", "medium", "low"),
        help="how much of the device's memory to use; less is slower; auto: the most that fits (%(default)s)",
    )


def preset_of(options: argparse.Namespace) -> Any:
    """The preset of ``--preset``; without it, the one that fits the base."""
    from ..model.base_folder import EMOJI_BASE
    from ..presets import PRESETS, preset_name

    return PRESETS[options.preset or preset_name(options.base or EMOJI_BASE)]


def open_base(
    options: argparse.Namespace,
    config: Any,
    prompts: Sequence[str] = (),
    tokens: Sequence[Any] = (),
    subjects: int = 2,
) -> Any:
    """The base in the memory mode that suits a stage's config and, for a fusion, the number of its subjects.

    What can be refused without it is refused before: a size it cannot make, a prompt it cannot read.
    """
    from ..model.base_folder import EMOJI_BASE
    from ..model.base_kinds import check_video_size
    from ..model.loading import check_prompt, load_base
    from ..model.memory import workloads_for

    folder = options.base or EMOJI_BASE
    check_video_size(folder, _lengths(config), config.height, config.width)
    for prompt in prompts:
        check_prompt(folder, prompt, tokens)
    backbone = load_base(folder, options.dtype, options.device, options.memory, workloads_for(config, subjects))
    if backbone.memory.name != "high":
        print(f"memory mode: {backbone.memory.name}")
    return backbone


def _lengths(config: Any) -> list[int]:
    """The lengths in frames of all videos that a stage makes or learns from."""
    if isinstance(config, SubjectConfig):
        return [1, config.auxiliary_frames] if config.lambda1 else [1]
    return [config.frames]


def file_and_strength(text: str) -> tuple[Path, float]:
    """``a.safetensors:0.8`` -> (a.safetensors, 0.8); the strength is 1 where none is given."""
    name, colon, number = text.rpartition(":")
    if not colon or number.lower().endswith(".safetensors") or Path(text).is_file():
        return Path(text), 1.0
    try:
        strength = float(number)
    except ValueError as error:
        raise ValueError(f"--lora: got {text!r}, write FILE or FILE:STRENGTH, e.g. toy.safetensors:0.8") from error
    if not math.isfinite(strength):
        raise ValueError(f"--lora: got {text!r}, the strength must be a finite number, e.g. toy.safetensors:0.8")
    return Path(name), strength


def terminal_callbacks() -> Callbacks:
    """Progress as one line that rewrites itself, with steps per second and the time left.

    Where nobody watches, as in a log file, a line for each tenth.
    """
    began: dict[str, tuple[float, int]] = {}  # when, and how many steps were done by then
    watched = sys.stderr.isatty()

    def progress(done: int, total: int, what: str) -> None:
        started, first = began.setdefault(what, (time.monotonic(), done))
        rate = (done - first) / max(1e-9, time.monotonic() - started)
        timing = f"{rate:.1f} it/s, {(total - done) / rate:.0f} s left" if done > first else ""
        if watched:
            end = "\n" if done == total else ""
            print(f"\r{what}: {done}/{total} {timing:30}", end=end, file=sys.stderr, flush=True)
        elif done * 10 // total > (done - 1) * 10 // total:
            print(f"{what}: {done}/{total} {timing}".rstrip(), file=sys.stderr, flush=True)
        if done == total:
            del began[what]

    return Callbacks(progress=progress, log=print)
