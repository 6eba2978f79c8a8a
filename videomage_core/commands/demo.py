"""The command that shows the whole method: demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..model.base_names import named_base
from ..output_paths import require_output_folder
from .common import terminal_callbacks


def add_demo(commands: Any) -> None:
    """Register ``demo`` and its flags."""
    parser = commands.add_parser(
        "demo",
        help="the whole method on a built-in base and shipped examples",
        description="Learn two characters and a motion from shipped examples, and make a video of those two doing "
        "that; about seven and a half minutes on two cores.  Stopped, the same command resumes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/demo"), help="folder for what is made")
    parser.add_argument(
        "--base", type=named_base, default="emoji_base", help="emoji_base, emoji_wan, or a folder of either's recipe"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial noise")
    parser.add_argument("--quick", action="store_true", help="fewer steps: rougher, about three minutes")
    parser.set_defaults(execute=_demo)


def _demo(options: argparse.Namespace) -> None:
    require_output_folder(options.output, "--output")
    from ..demo import demo_preset, quick, run_demo

    preset = demo_preset(options.base)
    settings = quick(preset) if options.quick else preset
    run_demo(options.output, options.seed, terminal_callbacks(), settings, options.base)
