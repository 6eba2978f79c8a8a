"""The one loop that trains every part of the embedded base: cosine schedule, EMA, resume."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn


def autocast(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """bf16 where it is fast: on GPUs, and on CPUs with the instructions for it."""
    return torch.autocast(device.type, torch.bfloat16)


def cosine(step: int, steps: int, warmup: int = 100) -> float:
    """The learning rate's factor: linear warm-up, then a half cosine to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def save_atomically(state: object, path: Path) -> None:
    """Write next to ``path``, then rename: a stop in between leaves the old file whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


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
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True
    )
    average = copy.deepcopy(model).eval().requires_grad_(False)
    first = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        print(f"{checkpoint.stem}: resumed at step {first} of {steps}", flush=True)
    began, shown = time.monotonic(), 0.0
    torch.set_flush_denormal(True)  # vanishing gradients would slow a CPU's optimiser step several times
    for step in range(first, steps):
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * cosine(step, steps)
        loss = loss_fn(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        update_average(average, model, min(ema_decay, (1 + step) / (10 + step)))
        shown += float(loss.detach())
        done = step + 1
        if done % 50 == 0:
            rate = (time.monotonic() - began) / (done - first)
            print(
                f"{checkpoint.stem}: step {done}/{steps} loss {shown / 50:.4f} "
                f"{rate * 1e3:.0f} ms/step, {rate * (steps - done) / 60:.1f} min left",
                flush=True,
            )
            shown = 0.0
        if done % save_every_n_steps == 0 or done == steps:
            state = {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": done,
            }
            save_atomically(state, checkpoint)
    torch.set_flush_denormal(False)
    return average


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model."""
    means, values = list(average.parameters()), list(model.parameters())
    torch._foreach_lerp_(means, values, 1 - decay)
