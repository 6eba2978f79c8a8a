"""Forward pass of layers with LoRAs: beside the weights, or merged into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .backbone import Backbone

# The adapted layers of each network: finding them walks through all modules, which takes milliseconds, and a sampling
# step switches adapters a dozen times.
_ADAPTED: WeakKeyDictionary[nn.Module, dict[str, Any]] = WeakKeyDictionary()


def adapted_layers(backbone: Backbone) -> dict[str, Any]:
    """The layers with adapters, by the names they have without; do not modify."""
    network = backbone.network
    if network not in _ADAPTED:
        adapted = {n: m for n, m in network.named_modules() if hasattr(m, "lora_A") and hasattr(m, "base_layer")}
        _ADAPTED[network] = adapted
    return _ADAPTED[network]


def adapters_changed(backbone: Backbone) -> None:
    """Clear the cache of adapted layers; called whenever an adapter was added or removed."""
    _ADAPTED.pop(backbone.network, None)


@contextmanager
def merged(backbone: Backbone) -> Iterator[None]:
    """Inside, LoRAs are merged into the weights, W + scale * B A, which saves a third of the time on a CPU.

    The outputs are the same to rounding.  Applies only to an fp32 base whose weights stay on the device: half
    precision would round away much of what a LoRA adds.  Each set of active adapters costs a copy of its layers'
    weights; nothing on the base may be trained, added or removed inside.
    """
    applies = backbone.dtype == torch.float32 and backbone.memory.keep_weights
    layers = list(adapted_layers(backbone).values()) if applies else []
    for layer in layers:
        layer.forward = _MergedForward(layer)
    try:
        yield
    finally:
        for layer in layers:
            layer.forward = partial(with_adapters, layer)


def with_adapters(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """W x + scale * B A x for each active adapter.

    The factors are float32; on a half-precision base they are multiplied in half, as under autocast.  peft's own
    forward casts x to float32 first, which doubles the memory of a layer's inputs and outputs.
    """
    result = layer.base_layer(x)
    for name in layer.active_adapters:
        if name in layer.lora_A:
            a, b = (factor[name].weight.to(x.dtype) for factor in (layer.lora_A, layer.lora_B))
            inner = nn.functional.linear(layer.lora_dropout[name](x), a).flatten(0, -2)
            flat = torch.addmm(result.flatten(0, -2), inner, b.T, alpha=layer.scaling[name])
            result = flat.view(result.shape)
    return result


class _MergedForward:
    """Forward of a layer whose active adapters are merged into its weight."""

    def __init__(self, layer: Any) -> None:
        self._layer, self._weights = layer, dict[tuple[tuple[str, float], ...], torch.Tensor]()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        layer = self._layer
        active = tuple((name, layer.scaling[name]) for name in layer.active_adapters if name in layer.lora_A)
        if not active:
            return layer.base_layer(x)
        if active not in self._weights:
            with torch.no_grad():
                deltas = [scale * layer.lora_B[name].weight @ layer.lora_A[name].weight for name, scale in active]
                self._weights[active] = sum(deltas, layer.base_layer.weight)
        return nn.functional.linear(x, self._weights[active], layer.base_layer.bias)
