"""One training on two processes gives what one gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from videomage_core.cli import main
from videomage_core.data.lora_file import load_lora
from videomage_core.distributed import ProcessGroup, process_group

ROOT = Path(__file__).parents[2]


def test_alone_a_process_takes_all(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert process_group() == ProcessGroup() and list(ProcessGroup().share(3)) == [0, 1, 2]
    assert ProcessGroup().all_reduce([torch.ones(1)], {"loss": 2.0}) == {"loss": 2.0}


def test_processes_share_the_forwards_of_a_step():
    shares = [list(ProcessGroup(index, 3).share(7)) for index in range(3)]
    assert sorted(forward for share in shares for forward in share) == list(range(7))
    with pytest.raises(ValueError, match=r"gradient_accumulation_steps: got 1 with 2 processes, .*give at least 2"):
        ProcessGroup(0, 2).share(1)


@pytest.fixture
def images(tmp_path):
    """Four images: of a subject, or a clip."""
    folder = tmp_path / "images"
    folder.mkdir()
    for f in range(4):
        frame = Image.new("RGB", (40, 30), "white")
        frame.paste((0, 90, 0), (5 * f, 10, 15 + 5 * f, 22))
        frame.save(folder / f"{f}.png")
    return folder


SHARED = [
    "--steps",
    "3",
    "--gradient-accumulation-steps",
    "3",
    "--batch-size",
    "1",
    "--device",
    "cpu",
    "--height",
    "24",
    "--width",
    "24",
]
COMMANDS = {
    "train-subject": [
        "--token",
        "<toy>",
        "--superclass",
        "robot",
        "--auxiliary-clips",
        "2",
        "--auxiliary-steps",
        "2",
        "--auxiliary-frames",
        "2",
        "--dropout",
        "0.1",
    ],
    "train-motion": [
        "--prompt",
        "a frog is walking",
        "--subject",
        "frog",
        "--frames",
        "4",
        "--textual-inversion-steps",
        "2",
    ],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_two_processes_train_what_one_does(command, images, tmp_path):
    def arguments(name: str) -> list[str]:
        output = ["--output", str(tmp_path / f"{name}.safetensors")]
        return [command, str(images), *COMMANDS[command], *SHARED, *output]

    assert main(arguments("one")) == 0
    launch = [
        sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_ip", "127.0.0.1",
        "--main_process_port", "0", "-m", "videomage_core",
    ]  # fmt: skip
    done = subprocess.run(
        [*launch, *arguments("two")],
        cwd=ROOT,
        # Over loopback: what a machine calls itself can't always be looked up.
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("wrote ") == 1, "one process writes"
    one, two = (load_lora(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    for module, factors in one.weights.layers.items():
        for a, b in zip(factors, two.weights.layers[module], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    for a, b in zip(one.tokens, two.tokens, strict=True):
        torch.testing.assert_close(a.vectors, b.vectors, rtol=1e-3, atol=1e-5)
