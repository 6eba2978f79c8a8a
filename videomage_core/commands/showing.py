"""Commands that need no settings: demo, inspect, rename."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import terminal_run


def add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="the whole method on the embedded base and shipped examples",
        description="Learn two characters and a motion from shipped examples, and make a video of those two doing "
        "that; about seven and a half minutes on two cores.  Stopped, the same command goes on where it was.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/demo"), help="folder for what is made")
    parser.add_argument("--seed", type=int, default=0, help="seed of the start noise")
    parser.add_argument("--quick", action="store_true", help="fewer steps: rougher, about three minutes")
    parser.set_defaults(execute=_demo)


def _demo(options: argparse.Namespace) -> None:
    from ..demo import quick, run_demo
    from ..presets import EMOJI

    run_demo(options.output, options.seed, terminal_run(), quick(EMOJI) if options.quick else EMOJI)


def add_inspect(commands: Any) -> None:
    parser = commands.add_parser(
        "inspect", help="say what a LoRA file holds", description="Say what a LoRA file holds."
    )
    parser.add_argument("file", type=Path, help="a .safetensors file made by VideoMage")
    parser.set_defaults(execute=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from ..data.lora_file import describe, load_lora

    print(describe(load_lora(options.file)))


def add_rename(commands: Any) -> None:
    parser = commands.add_parser(
        "rename", help="give a LoRA file's token another name", description="Give a LoRA file's token another name."
    )
    parser.add_argument("file", type=Path, help="a .safetensors file made by VideoMage")
    parser.add_argument("old", help="the token, e.g. '<toy>'")
    parser.add_argument("new", help="its new name, e.g. '<toy_2>'")
    parser.add_argument("--output", type=Path, help="the new file (default: beside the old one, named after the token)")
    parser.set_defaults(execute=_rename)


def _rename(options: argparse.Namespace) -> None:
    from ..data.lora_file import load_lora, rename_token, save_lora

    renamed = rename_token(load_lora(options.file), options.old, options.new)
    output = options.output or options.file.with_name(f"{options.file.stem}_{options.new.strip('<>')}.safetensors")
    if output.suffix != ".safetensors" or output.resolve() == options.file.resolve():
        raise ValueError(f"--output: got {output}, must end in .safetensors and be another file")
    save_lora(output, renamed)
    print(f"wrote {output}")
