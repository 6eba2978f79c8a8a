"""Whatever disturbs a stage, it ends as if nothing had been, or with an error that says what to do.

FAULTS is how often each kind of disturbance is tried on each stage: 50 for `make faults`, once otherwise.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.faults.small_stages import STAGES, STEPS, TIMES, TRAININGS, run_stage, same, whole
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.model import lora
from videomage_core.model.loading import load_unet3d
from videomage_core.training.checkpoint import CHECKPOINT

ROOT = Path(__file__).parents[2]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the processes that are killed: sums are taken in another order with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def undisturbed(emoji_base, tmp_path) -> Callable[..., list[torch.Tensor]]:
    return lambda stage, steps=STEPS: run_stage(stage, emoji_base, tmp_path / "undisturbed", steps)


def events_of(stage: str, base: Any, folder: Path) -> int:
    """How often a stage tells progress, all in all."""
    told: list[int] = []
    run_stage(stage, base, folder, STEPS, Callbacks(progress=lambda *_: told.append(1), log=lambda _: None))
    return len(told)


# --- killed


@pytest.mark.parametrize("stage", STAGES)
def test_killed(stage, undisturbed, emoji_base, tmp_path, one_thread):
    """Between any two steps of anything, before the first, and after the last, as the LoRA is written."""
    wanted, chance = undisturbed(stage), random.Random(stage)
    events = events_of(stage, emoji_base, tmp_path / "counted")
    for number in range(TIMES):
        folder, lines = tmp_path / str(number), chance.randint(0, events)
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("small_stages.py")), stage, str(STEPS), str(folder)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in range(1 + lines):
            assert process.stdout.readline(), f"kill {number}: it ended after {line} lines of {events}"
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        whole(folder)
        assert same(run_stage(stage, emoji_base, folder, STEPS), wanted), f"{number}: killed after {lines} steps"
        whole(folder)
        assert not list(folder.rglob("*.partial"))
        shutil.rmtree(folder)


# --- stopped by the user, by a full disk, by a lack of memory


@pytest.mark.parametrize("stage", STAGES)
def test_cancelled(stage, undisturbed, emoji_base, tmp_path):
    wanted, chance = undisturbed(stage), random.Random(stage)
    events = events_of(stage, emoji_base, tmp_path / "counted")
    for number in range(TIMES):
        folder, left = tmp_path / str(number), [chance.randint(0, events - 1)]

        def cancelled(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] < 0

        with pytest.raises(Cancelled):
            run_stage(stage, emoji_base, folder, STEPS, Callbacks(cancelled=cancelled, log=lambda _: None))
        whole(folder)
        assert not lora.names(emoji_base)
        assert same(run_stage(stage, emoji_base, folder, STEPS), wanted), f"{number}: cancelled {left}"
        shutil.rmtree(folder)


@pytest.mark.parametrize("stage", STAGES)
def test_disk_full(stage, undisturbed, emoji_base, tmp_path, monkeypatch):
    """The n-th file that is to be put in its place finds no room."""
    wanted, replace = undisturbed(stage), os.replace
    written: list[str] = []
    monkeypatch.setattr(os, "replace", lambda a, b: (written.append(str(b)), replace(a, b)))
    run_stage(stage, emoji_base, tmp_path / "counted", STEPS)
    for number in random.Random(stage).choices(range(len(written)), k=TIMES):
        folder, left = tmp_path / f"full_{number}", [number]

        def full(source: Any, target: Any, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == -1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
            replace(source, target)

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            run_stage(stage, emoji_base, folder, STEPS)
        monkeypatch.setattr(os, "replace", replace)
        whole(folder)
        assert not list(folder.rglob("*.partial"))
        assert same(run_stage(stage, emoji_base, folder, STEPS), wanted), f"file {number} of {len(written)}"
        shutil.rmtree(folder)


@pytest.fixture
def stopped_halfway(emoji_base, tmp_path) -> Callable[[str], Path]:
    """The folder of a training that was cancelled after some of its steps."""

    def stop(stage: str) -> Path:
        folder, done = tmp_path / "halfway", [0]

        def progress(step: int, _: int, what: str) -> None:
            done[0] = step if what == "training" else 0

        callbacks = Callbacks(progress=progress, cancelled=lambda: done[0] >= STEPS // 2, log=lambda _: None)
        with pytest.raises(Cancelled):
            run_stage(stage, emoji_base, folder, STEPS, callbacks)
        return folder

    return stop


@pytest.mark.parametrize("stage", TRAININGS)
def test_the_base_changed_under_a_resumed_run(stage, stopped_halfway, emoji_base):
    folder = stopped_halfway(stage)
    (checkpoint,) = folder.rglob(CHECKPOINT)  # a motion's may be that of its inversion
    before, kept = checkpoint.read_bytes(), [weight.detach().clone() for weight in emoji_base.unet.parameters()]
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for weight in emoji_base.unet.parameters():
                weight.mul_(1 + 0.1 * torch.randn(weight.shape, generator=generator))
        with pytest.raises(ValueError, match=r"holds the checkpoint of another training .* or base"):
            run_stage(stage, emoji_base, folder, STEPS)
    finally:
        with torch.no_grad():
            for weight, own in zip(emoji_base.unet.parameters(), kept, strict=True):
                weight.copy_(own)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("stage", TRAININGS)
def test_two_trainings_on_one_output(stage, undisturbed, emoji_base, tmp_path):
    """The second is refused while the first is at work, which does not notice."""
    wanted, folder, refused = undisturbed(stage), tmp_path / "both", []
    other = load_unet3d(dtype="fp32", device="cpu")

    def progress(step: int, _: int, what: str) -> None:
        if what == "training" and step == 3:
            with pytest.raises(
                ValueError, match=r"another training is at work in .*wait until it has ended, or choose"
            ):
                run_stage(stage, other, folder, STEPS)
            refused.append(step)

    made = run_stage(stage, emoji_base, folder, STEPS, Callbacks(progress=progress, log=lambda _: None))
    assert set(refused) == {3} and same(made, wanted)


def torn(state: dict[str, Any], path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(state: dict[str, Any], path: Path) -> None:
    path.write_bytes(b"")


def older(state: dict[str, Any], path: Path) -> None:
    torch.save({"step": state["step"], "lora": state["parameters"]["lora"]}, path)


def a_list(state: dict[str, Any], path: Path) -> None:
    torch.save([1, 2, 3], path)


@pytest.mark.parametrize("damage", [torn, empty, older, a_list])
def test_a_checkpoint_that_cannot_be_gone_on_from(damage, stopped_halfway, emoji_base):
    path = stopped_halfway("subject") / CHECKPOINT
    damage(torch.load(path, weights_only=True), path)
    before = path.read_bytes()
    said = "written by another version" if damage in (older, a_list) else "cannot be read"
    with pytest.raises(ValueError, match=f"{said}.*delete"):
        run_stage("subject", emoji_base, path.parent, STEPS)
    assert path.read_bytes() == before, "nothing is lost without being told"


# --- nothing disturbs it


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_seed_gives_the_same_bytes(stage, undisturbed, emoji_base, tmp_path):
    assert same(undisturbed(stage), run_stage(stage, emoji_base, tmp_path / "again", STEPS))


def test_batch_layouts_agree_to_rounding(emoji_base):
    """Videos predicted together, two by two and one by one."""
    x = torch.randn(4, *emoji_base.latent_shape(2, 24, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        text, level = emoji_base.encode_prompt(["a dog", "a cat", "a pig is jumping", ""]), emoji_base.levels(3)[1]
        together, *parts = (
            torch.cat([emoji_base.predict(x[i : i + size], level, text[i : i + size]) for i in range(0, 4, size)])
            for size in (4, 2, 1)
        )
    assert all(torch.allclose(together, part, rtol=0, atol=1e-5 * float(together.abs().max())) for part in parts)


def test_another_number_of_threads_gives_the_same_to_rounding(emoji_base, one_thread):
    x = torch.randn(1, *emoji_base.latent_shape(2, 24, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        text, level = emoji_base.encode_prompt(["a dog"]), emoji_base.levels(3)[1]
        one = emoji_base.predict(x, level, text)
        torch.set_num_threads(2)
        two = emoji_base.predict(x, level, text)
    assert torch.allclose(one, two, rtol=0, atol=1e-5 * float(one.abs().max()))
