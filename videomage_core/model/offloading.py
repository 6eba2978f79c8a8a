"""Ways to run a network's layers that save memory: computed again in the backward pass, or with weights that come and
go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def patch_forward(layers: Sequence[nn.Module], wrap: Any) -> Callable[[], None]:
    """Make each layer's forward ``wrap(layer, forward, ...)``; returns what undoes it."""
    before = [(layer, vars(layer).get("forward")) for layer in layers]
    for layer in layers:
        layer.forward = partial(wrap, layer, layer.forward)

    def undo() -> None:
        for layer, own in before:
            del layer.forward  # the class's own again
            if own is not None:
                layer.forward = own

    return undo


def checkpointed(_: nn.Module, forward: Any, *arguments: Any, **named: Any) -> Any:
    """A layer whose activations are computed again in the backward pass instead of kept."""
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, **named)


def offloaded(device: torch.device, layer: nn.Module, forward: Any, *arguments: Any, **named: Any) -> Any:
    """A layer whose weights are on the device while it computes, and in main memory before and after."""
    away = []
    try:
        for tensor in (*layer.parameters(), *layer.buffers()):
            if tensor.device != device:
                away.append((tensor, tensor.data))
                tensor.data = tensor.data.to(device)  # where memory runs out halfway, what came goes back
        return forward(*arguments, **named)
    finally:
        for tensor, data in away:
            tensor.data = data


def bytes_of(module: nn.Module) -> int:
    """Of its weights and buffers."""
    return sum(tensor.nbytes for tensor in module.state_dict().values())
