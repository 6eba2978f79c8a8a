"""A training loop for hours on a desktop's CPU, or minutes on a GPU: by steps or by the clock, resumable at any point.

The learning rate warms up, stays constant, then falls linearly to zero (as Hagele et al., Scaling Laws and
Compute-Optimal Training Beyond Fixed Training Durations, 2024).  What was reached before it falls is kept as
well, so that a finished run can be asked for more.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .recipe import save_atomically

MEASURED_STEPS = 20  # whose time tells how many steps are left


@dataclass(frozen=True)
class LoopConfig:
    """Settings of one stage.

    Attributes:
        learning_rate: the constant one.
        steps: optimiser steps in all; None: as many as ``minutes`` allow.
        minutes: of training in all, counted over all runs of the stage; None: as many as ``steps`` take.
        decay: share of the stage in which the learning rate falls.
        warmup: steps until the learning rate is reached.
        ema_decay: decay of the averaged weights, less in the first steps.
        weight_decay: AdamW's.
        save_seconds: time between two checkpoints.
    """

    learning_rate: float = 1e-3
    steps: int | None = None
    minutes: float | None = None
    decay: float = 0.25
    warmup: int = 100
    ema_decay: float = 0.998
    weight_decay: float = 0.01
    save_seconds: float = 120.0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError(f"steps, minutes: got {self.steps} and {self.minutes}, allowed: exactly one of the two")


def learning_rate_factor(step: int, warmup: int, decay_from: int | None, end: int | None) -> float:
    """Warm-up, constant, linear decay.

    Args:
        step: counted from 0.
        warmup: steps of the linear warm-up.
        decay_from: the first step of the decay; None: not begun.
        end: number of steps in all; None: not known yet.
    """
    factor = min(1.0, (step + 1) / max(1, warmup))
    if decay_from is not None and end is not None and step >= decay_from:
        factor *= (end - step) / (end - decay_from)
    return factor


class TrainLoop:
    """One stage's training.

    Args:
        model: what is trained, in place.
        checkpoint: where the state is kept; an existing one is resumed.
        config: settings.
        start: a state dict to begin from where there is no checkpoint yet.
    """

    def __init__(
        self, model: nn.Module, checkpoint: Path, config: LoopConfig, start: dict[str, Any] | None = None
    ) -> None:
        self.model, self.checkpoint, self.config = model, checkpoint, config
        if start is not None:
            model.load_state_dict(start)
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.step, self.seconds = 0, 0.0
        self.decay_from: int | None = None
        self.end: int | None = None
        if config.steps is not None:
            self.decay_from, self.end = round(config.steps * (1 - config.decay)), config.steps
        self._resume()

    @property
    def before_decay(self) -> Path:
        """Where the state is kept in which the learning rate began to fall."""
        return self.checkpoint.with_suffix(".before_decay.pt")

    def _resume(self) -> None:
        if not self.checkpoint.is_file():
            return
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if self._asks_for_more(state) and self.before_decay.is_file():
            state = torch.load(self.before_decay, map_location="cpu", weights_only=True)
            state["decay_from"] = state["end"] = None
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        if self.config.minutes is not None:
            self.decay_from, self.end = state["decay_from"], state["end"]
        print(f"{self.checkpoint.stem}: resumed at step {self.step}", flush=True)

    def _asks_for_more(self, state: dict[str, Any]) -> bool:
        """Whether the decay of a checkpoint was meant for a shorter run than this one."""
        if self.config.steps is not None:
            return state["end"] is not None and self.config.steps > state["end"]
        assert self.config.minutes is not None
        return state["end"] is not None and 60 * self.config.minutes > 1.02 * state["budget"]

    def _save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "budget": 60 * (self.config.minutes or 0.0),
            "decay_from": self.decay_from,
            "end": self.end,
        }
        save_atomically(state, path)

    def _plan_decay(self, seconds_per_step: float) -> None:
        """By the clock: begin the decay when its share of the time is all that is left."""
        if self.end is not None or self.config.minutes is None:
            return
        left = 60 * self.config.minutes - self.seconds
        if left <= 60 * self.config.minutes * self.config.decay:
            self.decay_from = self.step
            self.end = self.step + max(1, round(left / seconds_per_step))
            print(f"{self.checkpoint.stem}: learning rate falls from step {self.step} to {self.end}", flush=True)

    def run(self, loss_fn: Callable[[int], torch.Tensor]) -> nn.Module:
        """Train, and return the copy of the model with the averaged (EMA) weights.

        Args:
            loss_fn: the loss of a step; a function of the step alone, so that a resumed run sees
                the data it would have seen.
        """
        torch.set_flush_denormal(True)  # vanishing gradients would slow a CPU's optimiser step several times
        saved, times, losses = time.monotonic(), [], []
        while self.end is None or self.step < self.end:
            began = time.monotonic()
            losses.append(self._optimise(loss_fn))
            times.append(time.monotonic() - began)
            self.seconds += times[-1]
            self.step += 1
            recent = sorted(times[-MEASURED_STEPS:])
            had_end = self.end is not None
            if len(times) >= MEASURED_STEPS or self.config.steps is not None:
                self._plan_decay(sum(recent) / len(recent))
            if self.step == self.decay_from or (self.end is not None and not had_end):
                self._save(self.before_decay)
            if len(losses) == 50:
                self._log(losses, recent[len(recent) // 2])
            if time.monotonic() - saved > self.config.save_seconds or self.step == self.end:
                self._save(self.checkpoint)
                saved = time.monotonic()
        torch.set_flush_denormal(False)
        return self.average

    def _optimise(self, loss_fn: Callable[[int], torch.Tensor]) -> float:
        config = self.config
        torch.manual_seed(self.step)
        factor = learning_rate_factor(self.step, config.warmup, self.decay_from, self.end)
        set_learning_rate(self.optimizer, config.learning_rate * factor)
        loss = optimize(self.model, self.optimizer, loss_fn(self.step))
        update_average(self.average, self.model, min(config.ema_decay, (1 + self.step) / (10 + self.step)))
        return loss

    def _log(self, losses: list[float], seconds_per_step: float) -> None:
        of = self.end or f"{self.config.minutes:g} min"
        print(
            f"{self.checkpoint.stem}: step {self.step} of {of}, loss {sum(losses) / len(losses):.4f}, "
            f"{seconds_per_step:.2f} s/step, {self.seconds / 60:.1f} min",
            flush=True,
        )
        losses.clear()


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def optimize(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> float:
    """One step along a loss's gradient, clipped to a norm of 1; returns the loss."""
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model."""
    means, values = list(average.parameters()), list(model.parameters())
    torch._foreach_lerp_(means, values, 1 - decay)
