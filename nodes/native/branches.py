"""Several branches of one base: MODEL clones with different LoRAs, without patching weights at each switch.

Clones of one base share its weights, and the core patches them for one clone at a time: two branches would be unpatched
and patched again twice a step.  So what all clones have in common (a speed-up LoRA) stays the core's, on one shared
clone, and what differs becomes a path beside the layer, y = W x + up (down x), of which a switch chooses one.
Switching is free, exact on fp8 weights, and differentiable; no weight is touched.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .gradients import Forward, differentiable_forward, patched_forwards, weighted_layers

Patch = tuple[Any, ...]  # (strength, what, strength of the weight, offset, function), as the core has it
_WEIGHT = ".weight"


@dataclass
class LowRank:
    """A path beside a linear layer: up [out, R], with strength and scale in it, and down [R, in]."""

    up: torch.Tensor
    down: torch.Tensor

    def placed(self, like: nn.Module, dtype: torch.dtype, device: torch.device) -> LowRank:
        return LowRank(self.up.to(device, dtype, copy=True), self.down.to(device, dtype, copy=True))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        linear = nn.functional.linear
        return linear(linear(x, self.down.to(x.dtype)), self.up.to(x.dtype))


@dataclass
class Branches:
    """Branches of one base.

    Attributes:
        shared: a clone with the patches that all of them have.
        paths: by branch, in the given order, and by layer.
        current: the branch that acts; None: the base with what is shared.
    """

    shared: Any
    paths: list[dict[str, LowRank]]
    current: int | None = None
    _placed: list[dict[str, LowRank]] = field(default_factory=list)

    @contextmanager
    def use(self, branch: int | None) -> Iterator[None]:
        """Inside, this branch acts."""
        before, self.current = self.current, branch
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def installed(self, differentiable: bool, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
        """Inside, the shared clone's layers ask which branch acts; where asked for, gradients pass them.

        Args:
            differentiable: also let gradients through the layers' inputs.
            dtype: in which the model computes.
            device: where.
        """
        model, forwards = self.shared.model, dict[nn.Module, Forward]()
        with torch.inference_mode(False), torch.no_grad():  # autograd saves them for the backward pass
            self._placed = [
                {name: path.placed(model, dtype, device) for name, path in paths.items()} for paths in self.paths
            ]
        with_path = {name for paths in self.paths for name in paths}
        for name, module in weighted_layers(model):
            forward = module.forward
            if differentiable:
                forward = differentiable_forward(module, forward)
            if name in with_path:
                forward = self._add_path(name, forward)
            if name in with_path or differentiable:
                forwards[module] = forward
        try:
            with patched_forwards(forwards):
                yield
        finally:
            self._placed = []

    def _add_path(self, name: str, forward: Forward) -> Forward:
        def call(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            y = forward(x, *args, **kwargs)
            path = None if self.current is None else self._placed[self.current].get(name)
            return y if path is None else y + path(x)

        return call


def branches_of_models(models: Mapping[str, Any]) -> Branches:
    """The branches of MODELs, by the names of their inputs; nothing is loaded.

    Raises:
        ValueError: different bases, or a difference that is not a plain LoRA on linear layers.
    """
    names, patchers = list(models), list(models.values())
    for name, patcher in models.items():
        _require_clone(name, patcher, names[0], patchers[0])
    every = [patcher.patches for patcher in patchers]
    shared_patches: dict[str, list[Patch]] = {}
    paths: list[dict[str, LowRank]] = [{} for _ in patchers]
    layers = dict(weighted_layers(patchers[0].model))
    for key in dict.fromkeys(key for patches in every for key in patches):
        entries = [list(patches.get(key, ())) for patches in every]
        common, rests = _in_all(entries)
        if common:
            shared_patches[key] = common
        for name, rest, own in zip(names, rests, paths, strict=True):
            if rest:
                layer = key.removesuffix(_WEIGHT)
                own[layer] = _low_rank(name, key, rest, layers.get(layer))
    shared = patchers[0].clone()
    shared.patches, shared.patches_uuid = shared_patches, uuid.uuid4()
    return Branches(shared, paths)


def _require_clone(name: str, patcher: Any, first_name: str, first: Any) -> None:
    if patcher.model is not first.model:
        raise ValueError(
            f"{name}: its base is not {first_name}'s; connect both to the same Load Diffusion Model node, through "
            "LoraLoaderModelOnly nodes"
        )
    if getattr(patcher, "injections", None):
        raise ValueError(
            f"{name}: has parts injected into its layers ({', '.join(map(str, patcher.injections))}), as a LoRA loaded "
            "in bypass mode; load it with the usual Load LoRA node"
        )
    own, other = _extras(patcher), _extras(first)
    alone = own.keys() ^ other.keys()
    if alone:
        raise ValueError(
            f"{name}: {', '.join(sorted(alone))} is set on {name} or {first_name} alone; put such nodes (model "
            "sampling and the like) between Load Diffusion Model and the LoRAs, so that both branches have it"
        )
    differing = [key for key in own if key != "model_sampling" and not _same(own[key], other[key])]
    if differing:
        raise ValueError(
            f"{name}: {', '.join(sorted(differing))} is set otherwise than on {first_name}; put one node for it "
            "between Load Diffusion Model and the LoRAs, so that both branches have the same"
        )
    shifts = [getattr(of.object_patches.get("model_sampling"), "shift", None) for of in (patcher, first)]
    if shifts[0] != shifts[1]:
        raise ValueError(f"{name}: its shift is {shifts[0]}, {first_name}'s is {shifts[1]}; give both the same")


def _extras(patcher: Any) -> dict[str, Any]:
    """All that is set on a MODEL beside patches of its weights, by name."""
    options = {name: value for name, value in patcher.model_options.items() if name != "transformer_options"}
    every = [options, patcher.model_options.get("transformer_options", {}), patcher.object_patches]
    every.append(getattr(patcher, "weight_wrapper_patches", {}))
    every += [keys for keys in getattr(patcher, "wrappers", {}).values() if isinstance(keys, dict)]
    extras: dict[str, list[Any]] = {}
    for part in every:
        for name, value in part.items():
            if not _empty(value):
                extras.setdefault(str(name), []).append(value)
    return extras


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, dict | list | tuple) and all(map(_empty, _items(value))))


def _items(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else list(value)


def _in_all(entries: Sequence[list[Patch]]) -> tuple[list[Patch], list[list[Patch]]]:
    """What all lists hold, and what else each has."""
    rests = [list(own) for own in entries]
    common = []
    for patch in entries[0]:
        places = [next((i for i, other in enumerate(rest) if _same(patch, other)), None) for rest in rests]
        if None not in places:
            common.append(patch)
            for rest, place in zip(rests, places, strict=True):
                rest.pop(place)  # type: ignore[arg-type]
    return common, rests


def _same(one: Any, other: Any) -> bool:
    """Whether two patches or settings do the same; the same file loaded twice does."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if hasattr(one, "weights"):
        return _same(one.weights, other.weights)
    return bool(one == other)


def _low_rank(name: str, key: str, patches: Sequence[Patch], layer: nn.Module | None) -> LowRank:
    """The patches of one weight that only this branch has, as one path."""
    ups, downs = [], []
    for strength, what, of_weight, offset, function in patches:
        kind = getattr(what, "name", None) or (what[0] if isinstance(what, tuple) and len(what) == 2 else "diff")
        weights: Sequence[Any] = getattr(what, "weights", ())
        if kind != "lora":
            raise _refused(name, key, _KINDS.get(kind, f"of the kind {kind}"))
        up, down, alpha, mid, dora, reshape = weights
        if dora is not None:
            raise _refused(name, key, "a DoRA")
        if mid is not None or reshape is not None or offset is not None or function is not None or of_weight != 1.0:
            raise _refused(name, key, "a LoRA of a shape of its own, or a merge")
        if not key.endswith(_WEIGHT) or not hasattr(layer, "in_features") or up.ndim != 2:
            raise _refused(name, key, "a LoRA on a layer that is not linear")
        scale = strength * (1.0 if alpha is None else alpha / down.shape[0])
        ups.append(up.float() * scale)
        downs.append(down.float())
    return LowRank(torch.cat(ups, 1), torch.cat(downs))


_KINDS = {
    "diff": "a full difference (.diff)", "set": "a replaced weight", "model_as_lora": "a merge", "loha": "a LoHa",
    "lokr": "a LoKr", "glora": "a GLoRA", "oft": "an OFT", "boft": "a BOFT",
}  # fmt: skip


def _refused(name: str, key: str, what: str) -> ValueError:
    return ValueError(
        f"{name}: has {what} on {key} that the other branch lacks; branches may differ in plain LoRAs on linear "
        "layers. Put such a file on both branches, in front of where they part, or convert it to a plain LoRA"
    )
