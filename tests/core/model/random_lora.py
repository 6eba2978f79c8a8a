"""LoRAs of random factors."""

from __future__ import annotations

import torch

from videomage_core.model.lora_weights import LoraWeights


def random_lora(base, role: str, seed: int, rank: int = 3, scale: float = 2.0) -> LoraWeights:
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for target in base.targets(role):
        layer = base.network.get_submodule(target.module)
        a = torch.randn(rank, layer.in_features, generator=generator) * 0.05
        layers[target.module] = (a, torch.randn(layer.out_features, rank, generator=generator) * 0.05)
    return LoraWeights(layers, scale)
