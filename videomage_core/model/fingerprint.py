"""Fingerprint of a base model, stored in every LoRA file to recognise the base it was trained on.

Two parts: a hash of the layers' names and shapes, and random projections of a few weights.  The
projections are compared with a tolerance, so that a base loaded in fp32, fp16 or bf16 is the same
base: rounding to bf16 moves a normalised projection by about 0.001, other weights by about 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from ..folders import entries, files_in

_TENSORS, _VALUES, _TOLERANCE = 16, 4096, 0.01


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a base.

    Attributes:
        architecture: hash of names and shapes.
        weights: normalised random projections of evenly chosen weights.
    """

    architecture: str
    weights: tuple[float, ...]

    def matches(self, other: Fingerprint) -> bool:
        """Whether both are of the same base, in whatever precision."""
        if self.architecture != other.architecture or len(self.weights) != len(other.weights):
            return False
        return all(abs(a - b) <= _TOLERANCE for a, b in zip(self.weights, other.weights, strict=True))


def fingerprint_of_file(folder: Path) -> Fingerprint | None:
    """The mark of a base whose U-Net lies in ``folder``, without loading it; None unless it is one safetensors file."""
    files = files_in(folder, (".safetensors",))
    if not files or any(path.name.endswith(".index.json") for path in entries(folder)):
        return None
    with safe_open(files[0], framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
        return _fingerprint({name: shape for name, shape in shapes.items() if len(shape) > 1}, file.get_tensor)


@torch.no_grad()
def fingerprint(network: nn.Module) -> Fingerprint:
    """Fingerprint of a network, the same with and without adapters."""
    state = {
        name.replace(".base_layer.", "."): weight
        for name, weight in network.state_dict().items()
        if weight.ndim > 1 and not any(part.startswith("lora_") for part in name.split("."))
    }
    return _fingerprint({name: tuple(weight.shape) for name, weight in state.items()}, state.__getitem__)


def _fingerprint(shapes: Mapping[str, tuple[int, ...]], weight: Callable[[str], torch.Tensor]) -> Fingerprint:
    names = sorted(shapes)
    listed = "\n".join(f"{name} {shapes[name]}" for name in names)
    chosen = names[:: max(1, len(names) // _TENSORS)][:_TENSORS]
    signs = torch.randn(_VALUES, generator=torch.Generator().manual_seed(0)).sign()
    projections = []
    for name in chosen:
        values = weight(name).flatten()[:_VALUES].float().cpu()
        norm = float(values.norm())
        projections.append(round(float(values @ signs[: len(values)]) / norm, 5) if norm > 0 else 0.0)
    return Fingerprint(hashlib.sha256(listed.encode()).hexdigest()[:16], tuple(projections))
