"""The command that renames a token: rename."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..output_paths import require_output_file


def add_rename(commands: Any) -> None:
    """Register ``rename`` and its flags."""
    parser = commands.add_parser("rename", help="rename a LoRA file's token", description="Rename a LoRA file's token.")
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
    if options.output is None and output.exists():
        raise ValueError(f"--output: {output} is there already; name the new file with --output")
    require_output_file(output, "--output")
    save_lora(output, renamed)
    print(f"wrote {output}")
