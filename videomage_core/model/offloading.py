"""Save memory layer by layer: gradient checkpointing, and weights that are loaded only while a layer runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def patch_forward(layers: Sequence[nn.Module], wrap: Any) -> Callable[[], None]:
    """Replace each layer's forward by ``wrap(layer, forward, ...)``; returns a function that undoes it."""
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
    """A forward with gradient checkpointing: activations are recomputed in the backward pass."""
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, **named)


def offloaded(device: torch.device, layer: nn.Module, forward: Any, *arguments: Any, **named: Any) -> Any:
    """A forward of a layer whose weights are on the device only while it runs, and in main memory otherwise."""
    moved = []
    try:
        for tensor in (*layer.parameters(), *layer.buffers()):
            if tensor.device != device:
                moved.append((tensor, tensor.data))
                tensor.data = tensor.data.to(device)  # undone below, also if memory runs out halfway
        return forward(*arguments, **named)
    finally:
        for tensor, data in moved:
            tensor.data = data


def bytes_of(module: nn.Module) -> int:
    """Bytes of a module's weights and buffers."""
    return sum(tensor.nbytes for tensor in module.state_dict().values())
