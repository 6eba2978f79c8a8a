"""What several commands share: which base, which preset, progress in the terminal."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..run import Run


def add_base(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", type=Path, help="folder of a base in diffusers layout (default: the embedded base)")
    parser.add_argument(
        "--preset",
        choices=("paper", "emoji"),
        help="where settings start from: paper (default with --base), or emoji (default without)",
    )
    parser.add_argument("--dtype", default="auto", help="auto, fp32, fp16 or bf16 (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (%(default)s)")


def preset_of(options: argparse.Namespace) -> Any:
    from ..presets import PRESETS

    return PRESETS[options.preset or ("emoji" if options.base is None else "paper")]


def load_base(
    options: argparse.Namespace, height: int, width: int, prompts: Sequence[str] = (), tokens: Sequence[Any] = ()
) -> Any:
    """The base, after what can be refused without it: a size it cannot make, a prompt it cannot read."""
    from ..model.unet3d import EMOJI_BASE, check_prompt, check_size, load_unet3d

    folder = options.base or EMOJI_BASE
    check_size(folder, height, width)
    for prompt in prompts:
        check_prompt(folder, prompt, tokens)
    return load_unet3d(folder, options.dtype, options.device)


def file_and_strength(text: str) -> tuple[Path, float]:
    """``a.safetensors:0.8`` -> (a.safetensors, 0.8); the strength is 1 where none is given."""
    name, colon, number = text.rpartition(":")
    if not colon or number.endswith(".safetensors"):
        return Path(text), 1.0
    try:
        return Path(name), float(number)
    except ValueError as error:
        raise ValueError(f"--lora: got {text!r}, write FILE or FILE:STRENGTH, e.g. toy.safetensors:0.8") from error


def terminal_run() -> Run:
    """Progress as one line that rewrites itself, with steps per second and the time left."""
    began: dict[str, tuple[float, int]] = {}  # when, and how many steps were done by then

    def progress(done: int, total: int, what: str) -> None:
        started, first = began.setdefault(what, (time.monotonic(), done))
        rate = (done - first) / max(1e-9, time.monotonic() - started)
        timing = f"{rate:.1f} it/s, {(total - done) / rate:.0f} s left" if done > first else ""
        end = "\n" if done == total else ""
        print(f"\r{what}: {done}/{total} {timing:30}", end=end, file=sys.stderr, flush=True)
        if done == total:
            del began[what]

    return Run(progress=progress, log=print)
