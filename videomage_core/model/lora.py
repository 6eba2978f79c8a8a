"""LoRAs on the spatial or temporal layers of one base: several named ones, never a second copy.

A LoRA adds scale * B A x to a linear layer's output (Hu et al. 2021), A [R, in], B [out, R],
scale = alpha / R times a strength chosen at each use.

The adapters themselves are peft's.  Four of its behaviours are changed here:

* ``set_adapter`` changes ``requires_grad``.  Here ``add`` sets it once, and switching adapters never changes it: the
  frozen teacher of Eq. 5 is the same network without adapters, and switching to it before ``backward`` must not lose
  gradients.
* Module names are matched by pattern ("attentions" also matches "temp_attentions").  Here a LoRA
  adapts exactly the modules that the base lists as ``targets``.
* Its forward pass runs in float32.  Here it runs in the base's precision (``with_adapters``).
* Wrapped layers stay wrapped.  Here the wrapper is removed with the last adapter.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..config import LoraTrainingConfig, NewLoraConfig
from .active_adapters import adapter_state, layers_of, restore_state
from .active_adapters import names as names
from .active_adapters import use_adapters as use_adapters
from .backbone import Backbone, Target
from .lora_forward import adapters_changed, with_adapters
from .lora_forward import merged as merged
from .lora_weights import LoraWeights

if TYPE_CHECKING:
    from peft import LoraConfig


def add(
    backbone: Backbone,
    name: str,
    targets: Sequence[Target],
    rank: int,
    scale: float = 1.0,
    dropout: float = 0.0,
    seed: int = 0,
    gaussian: bool = False,
) -> list[nn.Parameter]:
    """Add a new, inactive LoRA to ``targets``; it starts as zero (B = 0).

    Args:
        backbone: the base.
        name: of the adapter, for ``use_adapters`` and ``remove``.
        targets: the layers, from ``backbone.targets``.
        rank: R.
        scale: alpha / R.
        dropout: probability while its dropout modules are in train mode (see ``dropout``); 0 is off.
        seed: of the random A.
        gaussian: A is drawn with a standard deviation of 1 / R, as MotionDirector does; else as peft does,
            evenly within 1 / sqrt(in).

    Returns:
        Its parameters, float32, requiring gradients.

    Raises:
        ValueError: the name is taken, or the base has no such layer.
    """
    ranks = {target.module: rank for target in targets}
    return _inject(backbone, name, targets, ranks, scale, dropout, seed, gaussian)


def _inject(
    backbone: Backbone,
    name: str,
    targets: Sequence[Target],
    ranks: Mapping[str, int],
    scale: float,
    dropout: float = 0.0,
    seed: int = 0,
    gaussian: bool = False,
) -> list[nn.Parameter]:
    from peft import inject_adapter_in_model

    _require_free_and_present(backbone, name, targets)
    strengths, trainable = adapter_state(backbone)
    config = _peft_config(ranks, scale, dropout, gaussian)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several adapters are intended
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, backbone.network, adapter_name=name)
        finally:
            adapters_changed(backbone)  # also if memory ran out halfway
    layers, parameters = layers_of(backbone, name), []
    for target in targets:
        layer = layers[target.module]
        layer.eval()
        layer.forward = partial(with_adapters, layer)
        for factor in (layer.lora_A[name], layer.lora_B[name]):
            factor.to(backbone.device, torch.float32)  # the layer's own weights may be offloaded
            parameters.append(factor.weight)
        if target.rows is not None:
            _train_only_rows(layer.lora_B[name].weight, target.rows)
    restore_state(backbone, strengths, trainable | {id(p) for p in parameters})
    return parameters


def _peft_config(ranks: Mapping[str, int], scale: float, dropout: float, gaussian: bool) -> LoraConfig:
    from peft import LoraConfig

    usual = max(ranks.values())
    # Only the exceptions: peft searches the whole pattern at each layer, which is slow.
    others = {module: rank for module, rank in ranks.items() if rank != usual}
    return LoraConfig(
        r=usual,
        lora_alpha=usual * scale,
        rank_pattern=others,
        alpha_pattern={module: rank * scale for module, rank in others.items()},
        lora_dropout=dropout,
        target_modules=list(ranks),
        init_lora_weights="gaussian" if gaussian else True,
    )


def _require_free_and_present(backbone: Backbone, name: str, targets: Sequence[Target]) -> None:
    if name in names(backbone):
        raise ValueError(f"name: got {name!r}, which is on this base already; choose another or remove it")
    if not targets:
        raise ValueError("targets: got none; choose at least one layer of the base")
    layers = dict(backbone.network.named_modules())
    missing = [t.module for t in targets if not hasattr(layers.get(t.module), "in_features")]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"LoRA: the base {backbone.name!r} has no linear layer {missing[0]!r}{more}; it is for another base"
        )


def _train_only_rows(weight: nn.Parameter, rows: tuple[int, ...]) -> None:
    """The other rows of B have no gradient, and stay as they start: zero in a new LoRA, as loaded in another."""
    mask = torch.zeros_like(weight[:, :1])
    mask[list(rows)] = 1
    weight.register_hook(lambda gradient: gradient * mask.to(gradient))


def load(
    backbone: Backbone,
    name: str,
    weights: LoraWeights,
    trainable: bool = False,
    rows: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, nn.Parameter]:
    """Add existing weights as an inactive adapter.

    Args:
        backbone: the base.
        name: of the adapter, for ``use_adapters`` and ``remove``.
        weights: of any ranks.
        trainable: whether its parameters require gradients.
        rows: of a layer's outputs, which alone are trained; a layer that is not named is trained whole.

    Returns:
        Its parameters, float32, by names that are stable between runs.

    Raises:
        ValueError: the base lacks one of the layers, or a layer has another size.
    """
    targets = [Target(module, (rows or {}).get(module)) for module in weights.layers]
    _require_free_and_present(backbone, name, targets)
    layers = dict(backbone.network.named_modules())
    for module, (a, b) in weights.layers.items():
        layer = layers[module]
        if (a.shape[1], b.shape[0]) != (layer.in_features, layer.out_features):
            raise ValueError(
                f"LoRA: {module} is {b.shape[0]}x{a.shape[1]} in the file and "
                f"{layer.out_features}x{layer.in_features} in {backbone.name!r}; it is for another base"
            )
        if a.shape[0] != b.shape[1]:
            raise ValueError(
                f"LoRA: {module} has A of rank {a.shape[0]} and B of rank {b.shape[1]}; the file is broken"
            )
    ranks = {module: a.shape[0] for module, (a, _) in weights.layers.items()}
    parameters = dict(zip(_labels(targets), _inject(backbone, name, targets, ranks, weights.scale), strict=True))
    with torch.no_grad():
        for module, (a, b) in weights.layers.items():
            parameters[f"{module}.A"].copy_(a)
            parameters[f"{module}.B"].copy_(b)
    for parameter in parameters.values():
        parameter.requires_grad_(trainable)
    return parameters


def _labels(targets: Sequence[Target]) -> list[str]:
    return [f"{target.module}.{factor}" for target in targets for factor in "AB"]


def weights(backbone: Backbone, name: str) -> LoraWeights:
    """A copy of an adapter's weights, on the CPU."""
    layers = layers_of(backbone, name)
    if not layers:
        raise ValueError(f"name: got {name!r}, on this base are {', '.join(names(backbone)) or 'no LoRAs'}")
    copies = {
        module: tuple(f[name].weight.detach().float().cpu().clone() for f in (layer.lora_A, layer.lora_B))
        for module, layer in layers.items()
    }
    layer = next(iter(layers.values()))
    return LoraWeights(copies, layer.lora_alpha[name] / layer.r[name])


@contextmanager
def trainable_adapter(
    backbone: Backbone,
    name: str,
    targets: Sequence[Target],
    config: LoraTrainingConfig,
    start: LoraWeights | None = None,
) -> Iterator[dict[str, nn.Parameter]]:
    """An active LoRA ready to be trained; afterwards the base is restored.

    Args:
        backbone: the base.
        name: of the adapter.
        targets: layers of a new LoRA; of ``start``, whose own layers count, the rows that may change.
        config: rank and dropout of a new LoRA.
        start: initial weights; None: a new LoRA.

    Yields:
        Its parameters, by names that are stable between runs.
    """
    with restore_adapters(backbone), ExitStack() as stack:
        if start is None:
            share, gaussian = 0.0, False
            if isinstance(config, NewLoraConfig):
                share, gaussian = config.dropout, config.target_modules == "motion_director"
            new = add(backbone, name, targets, config.rank, dropout=share, seed=config.seed, gaussian=gaussian)
            parameters = dict(zip(_labels(targets), new, strict=True))
        else:
            rows = {target.module: target.rows for target in targets if target.rows is not None}
            parameters = load(backbone, name, start, trainable=True, rows=rows)
        stack.enter_context(use_adapters(backbone, {name: 1.0}))
        stack.enter_context(dropout(backbone, name, on=True))
        yield parameters


@contextmanager
def dropout(backbone: Backbone, name: str, on: bool) -> Iterator[None]:
    """Inside, an adapter's dropout is on or off."""
    modules = [layer.lora_dropout[name] for layer in layers_of(backbone, name).values()]
    before = [module.training for module in modules]
    for module in modules:
        module.train(on)
    try:
        yield
    finally:
        for module, mode in zip(modules, before, strict=True):
            module.train(mode)


def remove(backbone: Backbone, name: str) -> None:
    """Remove an adapter; a layer without adapters is unwrapped."""
    strengths, trainable = adapter_state(backbone)
    try:
        for module, layer in layers_of(backbone, name).items():
            layer.delete_adapter(name)
            if not layer.lora_A:
                parent, _, child = module.rpartition(".")
                owner = backbone.network.get_submodule(parent)
                if isinstance(owner, (nn.ModuleList, nn.Sequential)):
                    owner[int(child)] = layer.base_layer
                else:
                    setattr(owner, child, layer.base_layer)
    finally:
        adapters_changed(backbone)
    strengths.pop(name, None)
    restore_state(backbone, strengths, trainable)
    if hasattr(backbone.network, "peft_config") and not names(backbone):
        del backbone.network.peft_config


@contextmanager
def restore_adapters(backbone: Backbone) -> Iterator[None]:
    """However the block ends, adapters added in it are removed and those active before are active again."""
    present, (before, trainable) = set(names(backbone)), adapter_state(backbone)
    try:
        yield
    finally:
        for name in set(names(backbone)) - present:
            remove(backbone, name)
        restore_state(backbone, before, trainable)
