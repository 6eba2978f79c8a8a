"""No memory, or NaN, anywhere in a stage: an error, nothing left behind, the next run ends the same."""

from __future__ import annotations

import gc
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from peft.tuners.lora.layer import LoraLayer

from tests.faults.small_stages import STAGES, STEPS, TIMES, TRAININGS, run_stage, same, whole
from videomage_core.training.loop import TrainingDiverged

# What a base does is called by its name there; the others: putting a LoRA on a layer, both ways back, the optimiser.
ELSEWHERE = {
    "update_layer": LoraLayer, "grad": torch.autograd, "backward": torch.Tensor, "step": torch.optim.AdamW,
}  # fmt: skip
POINTS = ("predict", "record_forward", "encode_video", "decode_video", "encode_prompt", *ELSEWHERE)


@contextmanager
def out_of_memory_at(point: str, call: int | None, base: Any) -> Iterator[list[int]]:
    """The ``call``-th pass through a point finds no memory; yields a count of the passes."""
    owner: Any = ELSEWHERE.get(point, base)
    before, passes = getattr(owner, point), [0]

    def refuse(*arguments: Any, **named: Any) -> Any:
        passes[0] += 1
        if passes[0] - 1 == call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return before(*arguments, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, point, refuse)
        yield passes


def bytes_alive() -> int:
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor) and thing.device.type == "cpu":
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(storages.values())


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("stage", STAGES)
def test_out_of_memory(stage, point, emoji_base, tmp_path):
    modules = list(emoji_base.network.named_modules())
    with out_of_memory_at(point, None, emoji_base) as passes:
        wanted = run_stage(stage, emoji_base, tmp_path / "counted", STEPS)
    if not passes[0]:
        pytest.skip(f"{stage} does not pass {point}")
    chance = random.Random(f"{stage} {point}")
    for number in range(max(1, TIMES // 5)):  # nine points make it 50 and more
        folder, before = tmp_path / str(number), bytes_alive()
        with out_of_memory_at(point, chance.randrange(passes[0]), emoji_base), pytest.raises(torch.OutOfMemoryError):
            run_stage(stage, emoji_base, folder, STEPS)
        assert list(emoji_base.network.named_modules()) == modules, "no LoRA is left"
        assert bytes_alive() <= before + 4096, "memory is where it was"
        whole(folder)
        assert same(run_stage(stage, emoji_base, folder, STEPS), wanted)
        shutil.rmtree(folder)


# --- what a training itself meets


@contextmanager
def not_a_number_at(call: int | None, base: Any) -> Iterator[list[int]]:
    """The ``call``-th prediction with gradients is NaN; yields a count of them."""
    predict, passes = base.predict, [0]

    def broken(*arguments: Any) -> torch.Tensor:
        output = predict(*arguments)
        if not torch.is_grad_enabled():
            return output
        passes[0] += 1
        return output * float("nan") if passes[0] - 1 == call else output

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(base, "predict", broken)
        yield passes


@pytest.mark.parametrize("stage", TRAININGS)
def test_not_a_number(stage, emoji_base, tmp_path):
    with not_a_number_at(None, emoji_base) as passes:
        wanted = run_stage(stage, emoji_base, tmp_path / "counted", STEPS)
    chance = random.Random(stage)
    for number in range(TIMES):
        folder, call = tmp_path / str(number), chance.randrange(passes[0])
        with (
            not_a_number_at(call, emoji_base),
            pytest.raises(TrainingDiverged, match=r"not a finite number at step \d+\. The last checkpoint is kept"),
        ):
            run_stage(stage, emoji_base, folder, STEPS)
        whole(folder)
        assert same(run_stage(stage, emoji_base, folder, STEPS), wanted), f"{number}: prediction {call} of {passes}"
        shutil.rmtree(folder)
