"""The command that describes a LoRA file: inspect."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_inspect(commands: Any) -> None:
    """Register ``inspect`` and its flags."""
    parser = commands.add_parser("inspect", help="describe a LoRA file", description="Describe a LoRA file.")
    parser.add_argument("file", type=Path, help="a .safetensors file of a LoRA, by any program")
    parser.set_defaults(execute=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from ..data.external_lora import describe_external
    from ..data.lora_file import describe, load_lora
    from ..data.lora_layers import read_external_lora
    from ..data.safetensors_file import opened

    with opened(options.file) as file:
        ours = "videomage" in (file.metadata() or {})
    print(describe(load_lora(options.file)) if ours else describe_external(read_external_lora(options.file)))
