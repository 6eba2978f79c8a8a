"""The command merge: the exact average of LoRA files for Wan, in keys that ComfyUI's Load LoRA reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_merge(commands: Any) -> None:
    """Register ``merge`` and its flags."""
    parser = commands.add_parser(
        "merge",
        help="average LoRA files for Wan into one that ComfyUI's Load LoRA reads",
        description="The exact average of LoRA files for Wan, by any trainer.  With one file: convert it.  Files of "
        "Wan 2.2 that hold both experts give two, _high_noise and _low_noise.",
    )
    parser.add_argument("loras", type=Path, nargs="+", help="LoRA files, e.g. one for each subject")
    parser.add_argument(
        "--weight", type=float, action="append", default=[],
        help="how much a file counts, in their order, once for each; divided by their sum (default: all alike)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/loras/merged.safetensors"), help="the new file (%(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=("fp32", "fp16", "bf16"), default="fp32", help="of the file; fp32 is exact (%(default)s)"
    )
    parser.set_defaults(execute=_merge)


def _merge(options: argparse.Namespace) -> None:
    output, inputs = options.output, [path.resolve() for path in options.loras]
    if output.suffix != ".safetensors" or output.resolve() in inputs:
        raise ValueError(f"--output: got {output}, must end in .safetensors and be another file")
    if options.weight and len(options.weight) != len(inputs):
        raise ValueError(f"--weight: got {len(options.weight)} for {len(inputs)} files; give one for each, or none")
    from ..data.wan_lora import merge_wan_loras, read_wan_lora, save_wan_lora

    merged = merge_wan_loras([read_wan_lora(path) for path in options.loras], options.weight or None)
    print(merged.scale)
    for path in save_wan_lora(output, merged, options.dtype):
        print(f"wrote {path}: rank {max(weights.rank for weights in merged.experts.values())}")
