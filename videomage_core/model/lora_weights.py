"""A LoRA as numbers, apart from any network, and the average of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LoraWeights:
    """A LoRA apart from any network.

    Attributes:
        layers: module name -> (A [R, in], B [out, R]), float32; R may differ from layer to layer.
        scale: alpha / R, the same in all layers.
    """

    layers: dict[str, tuple[torch.Tensor, torch.Tensor]]
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """The largest R."""
        return max(a.shape[0] for a, _ in self.layers.values())

    def delta(self, module: str) -> torch.Tensor:
        """What the LoRA adds to a layer's weight at strength 1: scale * B A, [out, in]."""
        a, b = self.layers[module]
        return self.scale * (b @ a)


def average(loras: Sequence[LoraWeights], coefficients: Sequence[float] | None = None) -> LoraWeights:
    """The exact average of N LoRAs: what it adds to a layer is the mean of what they add.

    Args:
        loras: at least one.
        shares: w_n, how much each counts; None: 1 / N each.

    mean(B) mean(A) would be something else: the average is of the products.  So the factors are
    concatenated, A = [A_1; ...; A_N] and B = [w_1 scale_1 B_1, ..., w_N scale_N B_N], and the
    ranks add up.  A layer that only some of them have counts as zero in the others.
    """
    if not loras:
        raise ValueError("loras: got none, give at least one")
    each = [1 / len(loras)] * len(loras) if coefficients is None else list(coefficients)
    modules = list(dict.fromkeys(module for weights in loras for module in weights.layers))
    layers = {}
    for module in modules:
        have = [(weights, share) for weights, share in zip(loras, each, strict=True) if module in weights.layers]
        a = torch.cat([weights.layers[module][0] for weights, _ in have])  # N of [R,in] -> [sum R,in]
        b = torch.cat([weights.layers[module][1] * (weights.scale * share) for weights, share in have], dim=1)
        layers[module] = (a, b)
    return LoraWeights(layers)


def compress(weights: LoraWeights, rank: int) -> tuple[LoraWeights, float]:
    """The nearest LoRA of at most that rank (truncated singular value decomposition), and its error.

    Returns:
        The LoRA, and ||wanted - got|| / ||wanted|| over all layers (Frobenius norm).
    """
    if rank < 1:
        raise ValueError(f"rank: got {rank}, must be at least 1")
    layers, lost, whole = {}, 0.0, 0.0
    for module, (a, b) in weights.layers.items():
        # B A = Q_b (R_b R_a^T) Q_a^T: the decomposition is of a matrix of the small rank
        q_b, r_b = torch.linalg.qr(b.double() * weights.scale)
        q_a, r_a = torch.linalg.qr(a.double().T)
        u, values, v = torch.linalg.svd(r_b @ r_a.T)
        root = values[:rank].sqrt()
        reduced = q_b @ u[:, :rank] * root
        reduced[~b.any(1)] = 0  # rows that no LoRA touches, such as another role's heads, stay exactly so
        layers[module] = ((v[:rank].T * root).T @ q_a.T, reduced)
        lost, whole = lost + float(values[rank:].square().sum()), whole + float(values.square().sum())
    compressed = {module: (a.float().contiguous(), b.float().contiguous()) for module, (a, b) in layers.items()}
    return LoraWeights(compressed), (lost / whole) ** 0.5 if whole else 0.0
