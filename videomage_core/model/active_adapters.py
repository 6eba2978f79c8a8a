"""Which LoRAs of a base act, and how strongly; switching never changes ``requires_grad``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .backbone import Backbone
from .lora_forward import adapted_layers


def names(backbone: Backbone) -> list[str]:
    """Names of the adapters on the base, sorted."""
    return sorted({name for layer in adapted_layers(backbone).values() for name in layer.lora_A})


@contextmanager
def use_adapters(backbone: Backbone, strengths: Mapping[str, float]) -> Iterator[None]:
    """Inside, exactly these adapters are active, each with its strength; afterwards, those that were before.

    An empty mapping is the base without adapters.  ``requires_grad`` does not change.
    """
    unknown = sorted(set(strengths) - set(names(backbone)))
    if unknown:
        raise ValueError(
            f"strengths: got {', '.join(unknown)}, on this base are {', '.join(names(backbone)) or 'no LoRAs'}"
        )
    wrong = [f"{value} of {name}" for name, value in strengths.items() if not math.isfinite(value)]
    if wrong:
        raise ValueError(f"strengths: got {', '.join(wrong)}, must be finite numbers")
    before = _strengths(backbone)
    _switch_to(backbone, strengths)
    try:
        yield
    finally:
        _switch_to(backbone, before)


def layers_of(backbone: Backbone, name: str) -> dict[str, Any]:
    return {module: layer for module, layer in adapted_layers(backbone).items() if name in layer.lora_A}


def _strengths(backbone: Backbone) -> dict[str, float]:
    """The active adapters with their strengths."""
    return {name: value for layer in adapted_layers(backbone).values() for name, value in _strengths_in(layer).items()}


def _strengths_in(layer: Any) -> dict[str, float]:
    """The active adapters of one layer, with their strengths."""
    here = [name for name in layer.active_adapters if name in layer.lora_A]
    return {name: layer.scaling[name] * layer.r[name] / layer.lora_alpha[name] for name in here}


def adapter_state(backbone: Backbone) -> tuple[dict[str, float], set[int]]:
    """(active adapters with their strengths, ids of the parameters that require gradients)."""
    return _strengths(backbone), {id(p) for p in backbone.network.parameters() if p.requires_grad}


def restore_state(backbone: Backbone, strengths: Mapping[str, float], trainable: set[int]) -> None:
    _switch_to(backbone, strengths)
    for parameter in backbone.network.parameters():
        parameter.requires_grad_(id(parameter) in trainable)


def _switch_to(backbone: Backbone, strengths: Mapping[str, float]) -> None:
    """Activate these adapters; peft also changes ``requires_grad``, which is undone."""
    for layer in adapted_layers(backbone).values():
        here = {name: strength for name, strength in strengths.items() if name in layer.lora_A}
        if list(here.items()) == list(_strengths_in(layer).items()):
            continue  # the order matters, as in any floating-point sum
        factors = [*layer.lora_A.parameters(), *layer.lora_B.parameters()]
        trainable = [factor.requires_grad for factor in factors]
        layer.set_adapter(list(here))
        for name, strength in here.items():
            layer.set_scale(name, strength)
        for factor, required in zip(factors, trainable, strict=True):
            factor.requires_grad_(required)
