"""The one loop that trains every part of the built-in base: cosine schedule, EMA, resume."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .recipe import save_atomically
from .train_loop import optimize, set_learning_rate, update_average


def autocast(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """bf16 where it is fast: on GPUs, and on CPUs with the instructions for it."""
    return torch.autocast(device.type, torch.bfloat16)


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """The learning rate's factor: linear warm-up, then a half cosine to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def fit(
    model: nn.Module,
    loss_fn: Callable[[int], torch.Tensor],
    checkpoint: Path,
    steps: int,
    learning_rate: float,
    ema_decay: float = 0.999,
    save_every_n_steps: int = 200,
    start: dict | None = None,
) -> nn.Module:
    """Train ``model`` and return a copy of it with the averaged (EMA) weights.

    Args:
        model: what is trained, in place.
        loss_fn: the loss of a step; a function of the step alone, so that a resumed run sees
            the data it would have seen.
        checkpoint: where the state is kept; an existing file is resumed.
        steps: optimiser steps in all.
        learning_rate: peak of the cosine schedule.
        ema_decay: decay of the averaged weights, less in the first steps.
        save_every_n_steps: steps between two checkpoints.
        start: a state dict to begin from where there is no checkpoint yet.
    """
    if start is not None:
        model.load_state_dict(start)
    optimizer = _optimizer(model, learning_rate)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    parts = {"model": model, "average": average, "optimizer": optimizer}
    log = _Log(checkpoint.stem, first := _resumed(parts, checkpoint, steps), steps)
    torch.set_flush_denormal(True)  # vanishing gradients would slow a CPU's optimiser step several times
    for step in range(first, steps):
        torch.manual_seed(step)
        set_learning_rate(optimizer, learning_rate * cosine(step, steps))
        loss = optimize(model, optimizer, loss_fn(step))
        update_average(average, model, min(ema_decay, (1 + step) / (10 + step)))
        log.add(step + 1, loss)
        if (step + 1) % save_every_n_steps == 0 or step + 1 == steps:
            save_atomically({**{name: part.state_dict() for name, part in parts.items()}, "step": step + 1}, checkpoint)
    torch.set_flush_denormal(False)
    return average


def _optimizer(model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)


def _resumed(parts: Mapping[str, Any], checkpoint: Path, steps: int) -> int:
    """Load the parts' states from a checkpoint, if there is one; the number of steps that are done."""
    if not checkpoint.is_file():
        return 0
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    print(f"{checkpoint.stem}: resumed at step {state['step']} of {steps}", flush=True)
    return state["step"]


class _Log:
    """A line for every 50 steps: the mean loss, the time of a step, the time left."""

    def __init__(self, name: str, first: int, steps: int) -> None:
        self.name, self.first, self.steps = name, first, steps
        self.began, self.losses = time.monotonic(), 0.0

    def add(self, done: int, loss: float) -> None:
        self.losses += loss
        if done % 50:
            return
        rate = (time.monotonic() - self.began) / (done - self.first)
        print(
            f"{self.name}: step {done}/{self.steps} loss {self.losses / 50:.4f} "
            f"{rate * 1e3:.0f} ms/step, {rate * (self.steps - done) / 60:.1f} min left",
            flush=True,
        )
        self.losses = 0.0
