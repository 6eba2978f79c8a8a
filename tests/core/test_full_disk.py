"""A disk that is full in the middle of a write: what was there stays whole, nothing half is left, and it is told."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from videomage_core import cli
from videomage_core.config import TrainingConfig
from videomage_core.data.lora_file import load_lora
from videomage_core.locks import LOCK
from videomage_core.training.checkpoint import CHECKPOINT
from videomage_core.training.loop import ParameterGroup, fit

resource = pytest.importorskip("resource", reason="files can be limited in size on Unix alone")


@contextmanager
def while_writing() -> Iterator[None]:
    """No file can grow past 4 kB: the operating system refuses, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def while_renaming() -> Iterator[None]:
    """All is written, and then the directory has no room for the name."""

    def full(source, target, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", full)
        yield


MOMENTS = pytest.mark.parametrize("full", [while_writing, while_renaming])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.linear_gradient("L").resize((40, 30)).save(folder / "a.png")
    return folder


def train(photos: Path, *more: str) -> int:
    output = photos.parent / "out" / "toy.safetensors"
    command = ["train-subject", str(photos), "--token", "<toy>", "--superclass", "robot", "--output", str(output)]
    settings = ["--batch-size=1", "--rank=1", "--target-modules=attention", "--height=24", "--width=24", "--device=cpu"]
    settings += ["--lr-scheduler=constant"]  # or a training of more steps would be another
    return cli.main([*command, *settings, *(more or ("--steps", "2", "--lambda1", "0"))])


def files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    return sorted(str(path.relative_to(folder)) for path in found)


@MOMENTS
def test_no_room_for_the_lora_and_the_same_command_again(photos, capsys, full):
    out = photos.parent / "out"
    assert train(photos) == 0
    whole = (out / "toy.safetensors").read_bytes()
    with full():
        assert train(photos) == cli.FAULT
    said = capsys.readouterr().err
    assert f"error: LoRA: {out / 'toy.safetensors'} could not be written" in said and "Traceback" not in said
    assert (out / "toy.safetensors").read_bytes() == whole
    assert files(out) == ["toy.safetensors", f"toy.training/{CHECKPOINT}", "toy.training/sample.mp4"]
    wanted = load_lora(out / "toy.safetensors").weights.layers
    (out / "toy.safetensors").unlink()
    assert train(photos) == 0  # the training is done and kept: the file alone is made
    again = load_lora(out / "toy.safetensors").weights.layers
    assert all(torch.equal(a, b) for m in wanted for a, b in zip(wanted[m], again[m], strict=True))


@MOMENTS
def test_no_room_for_the_checkpoint(photos, capsys, full):
    out = photos.parent / "out"
    with full():
        assert train(photos) == cli.FAULT
    said = capsys.readouterr().err
    assert "error: the checkpoint of step 2 could not be written" in said and "there is none before it" in said
    assert files(out) == []
    assert train(photos) == 0
    assert train(photos, "--steps", "2", "--lambda1", "0", "--save-every-n-steps", "1") == 0
    before = (out / "toy.training" / CHECKPOINT).read_bytes()
    capsys.readouterr()
    with full():
        assert train(photos, "--steps", "3", "--lambda1", "0") == cli.FAULT
    assert f"the checkpoint before it is kept in {out / 'toy.training' / CHECKPOINT}" in capsys.readouterr().err
    assert (out / "toy.training" / CHECKPOINT).read_bytes() == before
    assert files(out) == ["toy.safetensors", f"toy.training/{CHECKPOINT}", "toy.training/sample.mp4"]


@MOMENTS
def test_no_room_for_the_auxiliary_clips(photos, capsys, full):
    small = ["--steps", "1", "--auxiliary-clips", "2", "--auxiliary-steps", "1"]
    with full():
        assert train(photos, *small) == cli.FAULT
    said = capsys.readouterr().err
    assert "could not be written" in said and "make room" in said and "Traceback" not in said
    assert files(photos.parent / "out") == []
    assert train(photos, *small) == 0


@MOMENTS
def test_the_loop_goes_on_from_the_checkpoint_that_was_kept(tmp_path, full):
    """To the numbers that it would have come to with room enough."""

    def go(folder: Path, steps: int) -> tuple[torch.Tensor, int]:
        weight = torch.linspace(-1, 1, 4096).requires_grad_()

        def loss_fn(generator: torch.Generator, backward) -> None:
            backward({"fit": (weight - torch.randn(4096, generator=generator)).square().mean()})

        config = TrainingConfig(steps=steps, save_every_n_steps=2)
        history = fit([ParameterGroup("w", {"w": weight}, 0.1)], loss_fn, config, folder, "x")
        return weight.detach(), history.resumed_at

    go(tmp_path / "a", 2)
    with full(), pytest.raises(OSError, match=r"checkpoint of step 4 could not be written .* before it is kept"):
        go(tmp_path / "a", 6)
    assert [path.name for path in (tmp_path / "a").glob("[!.]*")] == [CHECKPOINT]
    resumed, at = go(tmp_path / "a", 6)
    assert at == 2 and torch.equal(resumed, go(tmp_path / "b", 6)[0])
