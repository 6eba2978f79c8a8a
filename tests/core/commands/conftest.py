"""Fixtures of the commands' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from videomage_core.cli import main


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(2):
        Image.new("RGB", (30 + index, 40), (200, 40 * index, 10)).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    """A hardly trained motion, and its clip beside it."""
    from PIL import Image

    clip = tmp_path / "clip"
    clip.mkdir()
    for f in range(8):
        frame = Image.new("RGB", (48, 48), "white")
        frame.paste((0, 90, 0), (4 * f, 20, 15 + 4 * f, 35))
        frame.save(clip / f"{f}.png")
    file = tmp_path / "sliding.safetensors"
    train = ["train-motion", str(clip), "--prompt", "a frog is sliding", "--omega", "0", "--output", str(file)]
    assert main([*train, "--steps", "2", "--batch-size", "1"]) == 0
    return file
