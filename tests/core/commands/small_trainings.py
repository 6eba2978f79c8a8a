"""Hardly trained LoRAs, made by the command line."""

from __future__ import annotations

from pathlib import Path

from videomage_core.cli import main

TINY = ["--steps", "2", "--lambda1", "0", "--batch-size", "1", "--device", "cpu"]


def toy(folder: Path, photos: Path, name: str) -> Path:
    """A hardly trained subject <name>."""
    file = folder / f"{name}.safetensors"
    train = ["train-subject", str(photos), "--token", f"<{name}>", "--superclass", "robot", "--output", str(file)]
    assert main([*train, *TINY]) == 0
    return file
