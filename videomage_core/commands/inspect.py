"""The command that describes a LoRA file: inspect."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_inspect(commands: Any) -> None:
    parser = commands.add_parser("inspect", help="describe a LoRA file", description="Describe a LoRA file.")
    parser.add_argument("file", type=Path, help="a .safetensors file made by VideoMage")
    parser.set_defaults(execute=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from ..data.lora_file import describe, load_lora

    print(describe(load_lora(options.file)))
