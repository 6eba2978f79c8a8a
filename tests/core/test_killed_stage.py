"""A whole training from the command line, killed when it likes: what comes out is what an undisturbed one gives."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from videomage_core.cli import main
from videomage_core.data.lora_file import load_lora
from videomage_core.training import CHECKPOINT

ROOT = Path(__file__).parents[2]
STEPS, KILLS = 45, 2


def training(photos: Path, output: Path) -> list[str]:
    return [
        "train-subject", str(photos), "--token", "<toy>", "--superclass", "robot", "--output", str(output),
        "--steps", str(STEPS), "--save-every", "3", "--batch-size", "1", "--auxiliary-clips", "2",
        "--auxiliary-steps", "2", "--auxiliary-frames", "2", "--dropout", "0.1", "--flip", "--device", "cpu",
    ]  # fmt: skip


def stamp(checkpoint: Path) -> int:
    return checkpoint.stat().st_mtime_ns if checkpoint.is_file() else 0


def kill_after(checkpoints: int, wait: float, arguments: list[str], checkpoint: Path) -> None:
    """Start the training, let it save so many times, wait some seconds more, and kill it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "videomage_core", *arguments],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(checkpoints):
        before = stamp(checkpoint)
        while stamp(checkpoint) == before and process.poll() is None:
            time.sleep(0.002)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"it ended before it was killed: {said[-500:]}"


def test_a_stage_killed_at_random_moments_ends_as_if_nothing_had_been(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 30 + 9 * index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{index}.png")
    killed, checkpoint = tmp_path / "killed.safetensors", tmp_path / "killed.training" / CHECKPOINT
    chance, reached = random.Random(0), [0]
    for _ in range(KILLS):
        kill_after(chance.randint(1, 3), chance.uniform(0, 0.1), training(photos, killed), checkpoint)
        reached.append(torch.load(checkpoint, weights_only=True)["step"])  # whole, whenever the kill came
    assert reached == sorted(set(reached)) and reached[-1] < STEPS, (
        f"killed at {reached}: each run goes on from the last"
    )
    assert not killed.exists()
    assert main(training(photos, killed)) == 0

    whole = tmp_path / "whole.safetensors"
    assert main(training(photos, whole)) == 0
    one, two = load_lora(killed), load_lora(whole)
    assert one.weights.layers.keys() == two.weights.layers.keys() and one.details == two.details
    for module, factors in two.weights.layers.items():
        assert all(torch.equal(a, b) for a, b in zip(one.weights.layers[module], factors, strict=True)), module
        assert float(factors[1].abs().max()) > 0
    assert torch.equal(one.tokens[0].vectors, two.tokens[0].vectors)
    assert one.thumbnail is not None and one.thumbnail == two.thumbnail
    histories = [
        torch.load(tmp_path / f"{name}.training" / CHECKPOINT, weights_only=True)["history"]["losses"]
        for name in ("killed", "whole")
    ]
    assert histories[0] == histories[1] and len(histories[0]["loss"]) == STEPS
    assert not list(checkpoint.parent.glob("*.partial"))
