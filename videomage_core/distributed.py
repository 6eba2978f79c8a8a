"""Data-parallel training on several processes started by ``accelerate launch``, each with its own GPU or cores.

Each process takes a share of a step's forwards (``gradient_accumulation_steps`` of them), and their gradients are
summed up, so the parameters stay alike in all.  The first process writes files; the others read them.  The result is
that of one
process, to rounding: a sum is taken in another order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch


@dataclass(frozen=True)
class ProcessGroup:
    """This process within a training's process group.

    Attributes:
        index: rank of this process, from 0; the first writes files.
        count: number of processes.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.index == 0

    def share(self, forwards: int) -> range:
        """The forward passes of a step for this process; ValueError if there are fewer than processes."""
        if forwards < self.count:
            raise ValueError(
                f"gradient_accumulation_steps: got {forwards} with {self.count} processes, which divide the "
                f"forward passes of a step; give at least {self.count}"
            )
        return range(self.index, forwards, self.count)

    def all_reduce(self, parameters: Sequence[torch.Tensor], terms: dict[str, float]) -> dict[str, float]:
        """Sum gradients, in place, and a step's loss terms over all processes; missing gradients stay missing."""
        if self.count == 1:
            return terms
        present = torch.tensor([float(p.grad is not None) for p in parameters])
        values = torch.tensor([terms[name] for name in sorted(terms)], dtype=torch.float64)
        self._sum(present)
        self._sum(values)
        for parameter, exists in zip(parameters, present.tolist(), strict=True):
            if exists:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                self._sum(parameter.grad)
        return dict(zip(sorted(terms), values.tolist(), strict=True))

    def _sum(self, values: torch.Tensor) -> None:
        device = _state().device
        moved = values.to(device)
        torch.distributed.all_reduce(moved)
        values.copy_(moved)


def process_group() -> ProcessGroup:
    """The process group that ``accelerate launch`` started; otherwise this process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ProcessGroup()
    state = _state()
    return ProcessGroup(state.process_index, state.num_processes)


def process_device() -> torch.device | None:
    """The device of this process in a group of several; None if it is alone."""
    return None if process_group().count == 1 else _state().device


@cache
def _state() -> Any:
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())
