"""One training on several processes, as ``accelerate launch`` starts them: a GPU, or some cores, for each.

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
    """This process among those of the training.

    Attributes:
        index: from 0; the first writes files.
        count: of processes.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.index == 0

    def share(self, forwards: int) -> range:
        """The forwards of a step that this process takes; ValueError if there are too few for all."""
        if forwards < self.count:
            raise ValueError(
                f"gradient_accumulation_steps: got {forwards} with {self.count} processes, which share the "
                "forwards of a step; "
                f"give at least {self.count}"
            )
        return range(self.index, forwards, self.count)

    def all_reduce(self, parameters: Sequence[torch.Tensor], terms: dict[str, float]) -> dict[str, float]:
        """Sum gradients, in place, and a step's terms over all processes; a parameter without any stays so."""
        if self.count == 1:
            return terms
        have = torch.tensor([float(p.grad is not None) for p in parameters])
        told = torch.tensor([terms[name] for name in sorted(terms)], dtype=torch.float64)
        self._sum(have)
        self._sum(told)
        for parameter, some in zip(parameters, have.tolist(), strict=True):
            if some:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                self._sum(parameter.grad)
        return dict(zip(sorted(terms), told.tolist(), strict=True))

    def _sum(self, values: torch.Tensor) -> None:
        device = _state().device
        moved = values.to(device)
        torch.distributed.all_reduce(moved)
        values.copy_(moved)


def process_group() -> ProcessGroup:
    """This process among those that ``accelerate launch`` started; alone without."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ProcessGroup()
    state = _state()
    return ProcessGroup(state.process_index, state.num_processes)


def process_device() -> torch.device | None:
    """The GPU of this process where there are several; None alone."""
    return None if process_group().count == 1 else _state().device


@cache
def _state() -> Any:
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())
