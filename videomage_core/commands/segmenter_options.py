"""The flags that name a segmenter."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import SegmentationConfig
from ..output_paths import illegal_on_windows
from .common import terminal_callbacks

_FLAGS = ("detector", "sam2", "bert")


def add_segmenter(parser: argparse.ArgumentParser, purpose: str) -> None:
    """The flags that name GroundingDINO and SAM 2."""
    group = parser.add_argument_group("segmenter", f"{purpose}; --detector and --sam2 together, or neither")
    add_models(group, required=False)


def add_models(group: Any, required: bool) -> None:
    """Flags of the models' files."""
    group.add_argument(
        "--detector", type=Path, required=required, help="GroundingDINO: a file (.pth, .safetensors) or a folder"
    )
    group.add_argument("--sam2", type=Path, required=required, help="SAM 2: a file (.pt, .safetensors) or a folder")
    group.add_argument("--bert", type=Path, help="the folder bert-base-uncased, where --detector is a file")


def segmenter_of(options: argparse.Namespace, config: SegmentationConfig | None = None) -> Any:
    """The segmenter that the flags name, or None for none.

    Raises:
        ValueError: one of the two is missing.
        FileNotFoundError, ImportError: see ``GroundedSam2``.
    """
    given = [name for name in _FLAGS if getattr(options, name) is not None]
    if not given:
        return None
    if options.detector is None or options.sam2 is None:
        raise ValueError(f"--{', --'.join(given)}: a segmenter needs --detector and --sam2 together")
    from ..data.grounded_sam2 import GroundedSam2
    from ..model.loading import choose_device

    device = str(choose_device(options.device))
    return GroundedSam2(
        options.detector, options.sam2, options.bert, config or SegmentationConfig(), device, terminal_callbacks()
    )


def folder_names(words: Sequence[str]) -> list[str]:
    """A folder's name for each word, without what a path cannot hold; those that would be alike get a number."""
    plain = [re.sub(r"[^\w.-]+", "_", word).strip("._") or "word" for word in words]
    counted = [name.casefold() for name in plain]
    return [
        f"{name}_{number}" if counted.count(name.casefold()) > 1 or illegal_on_windows(name) else name
        for number, name in enumerate(plain, start=1)
    ]
