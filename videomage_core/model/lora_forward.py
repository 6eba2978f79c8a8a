"""What layers with LoRAs compute: beside their weights, or merged into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .backbone import Backbone

# The adapted layers of each network.  To find them takes a walk through all its modules, milliseconds each time, and a
# step of sampling switches adapters a dozen times.
_ADAPTED: WeakKeyDictionary[nn.Module, dict[str, Any]] = WeakKeyDictionary()


def adapted_layers(backbone: Backbone) -> dict[str, Any]:
    """The layers that hold adapters, by the name they have without; not to be changed."""
    network = backbone.network
    if network not in _ADAPTED:
        adapted = {n: m for n, m in network.named_modules() if hasattr(m, "lora_A") and hasattr(m, "base_layer")}
        _ADAPTED[network] = adapted
    return _ADAPTED[network]


def adapters_changed(backbone: Backbone) -> None:
    """Forget which layers hold adapters; called whenever one was put on a base or taken off."""
    _ADAPTED.pop(backbone.network, None)


@contextmanager
def merged(backbone: Backbone) -> Iterator[None]:
    """Inside, LoRAs act through weights that they were added to, W + scale * B A: a third less time on a CPU.

    The same outputs, to rounding.  For a base of fp32 alone, that stays on the device: half precision would round
    away much of what a LoRA adds to a weight.  Each set of adapters that acts costs a copy of the weights of its
    layers; nothing on the base may be trained, added or removed inside.
    """
    whole = backbone.dtype == torch.float32 and backbone.memory.keep_weights
    layers = list(adapted_layers(backbone).values()) if whole else []
    for layer in layers:
        layer.forward = _MergedForward(layer)
    try:
        yield
    finally:
        for layer in layers:
            layer.forward = partial(with_adapters, layer)


def with_adapters(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """W x + scale * B A x for each adapter that acts.

    The factors are float32; on a base of half precision they multiply in half, as under autocast.  peft's own forward
    brings x to float32 first: twice the memory of what goes into a layer and of what comes out.
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
    """The forward of a layer with adapters, by the weight that those which act were added to."""

    def __init__(self, layer: Any) -> None:
        self._layer, self._weights = layer, dict[tuple[tuple[str, float], ...], torch.Tensor]()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        layer = self._layer
        acting = tuple((name, layer.scaling[name]) for name in layer.active_adapters if name in layer.lora_A)
        if not acting:
            return layer.base_layer(x)
        if acting not in self._weights:
            with torch.no_grad():
                deltas = [scale * layer.lora_B[name].weight @ layer.lora_A[name].weight for name, scale in acting]
                self._weights[acting] = sum(deltas, layer.base_layer.weight)
        return nn.functional.linear(x, self._weights[acting], layer.base_layer.bias)
