"""Gradients through a core MODEL, whose weights are inference tensors, cast anew for each use.

Nodes run under ``torch.inference_mode``: autograd refuses to save such weights for the backward pass, and where the
core hands out views of reusable buffers, a graph that saved them would read overwritten memory.  So no weight is ever
saved.  A linear layer's backward casts its weight again and multiplies; norms and convolutions are computed again with
cloned weights.  That holds for fp8 storage, weights in main memory and LoRAs that the core applies on the way.

Rotary embedding may be a kernel without an autograd formula, and may work in place: it is replaced meanwhile.

``check_gradient`` compares the first gradient with a finite difference along it: a core that changes what this file
builds on is refused.  It does not see a part of the gradient that is missing at right angles to the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

Forward = Callable[..., torch.Tensor]
ROPE = ("apply_rope1", "apply_rope")
# A finite difference of half precision sees its rounding.
TOLERANCE = {torch.float32: 0.05, torch.float16: 0.5, torch.bfloat16: 0.5}
MOVES = (0.003, 0.02)  # RMS(move) / RMS(x) of finite differences; the larger one for coarse precision


class GradientMismatch(RuntimeError):
    """The gradient is not that of the loss: this core changed what guidance builds on."""


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Inside, autograd works; tensors from outside must be cloned."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def differentiable_forward(module: nn.Module, forward: Forward) -> Forward:
    """``forward`` of a layer with weights that gradients pass on their way to its input.

    Without gradients it is ``forward`` itself.
    """
    kind = _Linear if _is_linear(module) else _Recomputed

    def call(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return forward(x, *args, **kwargs)
        if not x.requires_grad:  # what only depends on prompts; the weights themselves are parameters
            with torch.no_grad():
                return forward(x, *args, **kwargs)
        result: torch.Tensor = kind.apply(x, module, lambda given: forward(given, *args, **kwargs))
        return result

    return call


def weighted_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers of a core model that cast their weights for each use."""
    for name, module in model.named_modules():
        if hasattr(module, "weight_function") and getattr(module, "weight", None) is not None:
            yield name, module


def _is_linear(module: nn.Module) -> bool:
    return hasattr(module, "in_features") and hasattr(module, "out_features")


class _Linear(torch.autograd.Function):
    """y = W x + b by the core; dL/dx = W^T dL/dy with the weight cast again."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, module: nn.Module, forward: Forward) -> torch.Tensor:
        ctx.module = module
        return forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, None, None]:
        (gradient,) = gradients
        return gradient @ linear_weight(ctx.module, gradient), None, None


def linear_weight(module: Any, like: torch.Tensor) -> torch.Tensor:
    """A linear layer's weight [out, in] as it acts, patches and scales included, of ``like``'s dtype and device."""
    import comfy.ops

    cast = getattr(module, "cast_bias_weight", None)  # layers of other packs, such as GGUF's, bring their own
    kind = {"dtype": like.dtype, "device": like.device, "bias_dtype": like.dtype}
    weight = (cast(**kind) if cast else comfy.ops.cast_bias_weight(module, **kind))[0]
    if hasattr(weight, "dequantize") and type(weight) not in (torch.Tensor, nn.Parameter):
        weight = weight.dequantize()
    scale = getattr(module, "scale_weight", None)  # fp8 with a scale of its own
    return weight if scale is None else weight * scale.to(weight)


class _Recomputed(torch.autograd.Function):
    """Any other layer: computed by the core, and again in the backward pass, with clones of its weights."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, module: nn.Module, forward: Forward) -> torch.Tensor:
        ctx.module, ctx.run = module, forward
        ctx.save_for_backward(x)
        return forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (x,) = ctx.saved_tensors
        with torch.enable_grad(), _cloned_weights(ctx.module):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(ctx.run(x), x, gradients)[0], None, None


@contextmanager
def _cloned_weights(module: Any) -> Iterator[None]:
    """Inside, the core casts copies, which autograd may save."""
    names = ("weight_function", "bias_function")
    before = {name: vars(module).get(name) for name in names}
    for name in names:
        setattr(module, name, [*getattr(module, name), torch.clone])
    try:
        yield
    finally:
        for name, functions in before.items():
            if functions is None:
                delattr(module, name)
            else:
                setattr(module, name, functions)


@contextmanager
def patched_forwards(forwards: dict[nn.Module, Forward]) -> Iterator[None]:
    """Inside, these modules have these forwards; afterwards what they had, to the bit."""
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.forward = forward
        yield
    finally:
        for module, own in before.items():
            if own is None:
                vars(module).pop("forward", None)
            else:
                module.forward = own


@contextmanager
def differentiable_rope(model: nn.Module) -> Iterator[None]:
    """Inside, the model's rotary embedding is plain PyTorch, out of place."""
    module = sys.modules[type(model).__module__]
    before = {name: getattr(module, name) for name in ROPE if hasattr(module, name)}
    try:
        for name in before:
            setattr(module, name, rope if name == "apply_rope1" else _rope_of_both)
        yield
    finally:
        for name, function in before.items():
            setattr(module, name, function)


def rope(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Pairs of x [..., d] turned by ``rotation`` [..., d/2, 2, 2]."""
    pairs = x.to(rotation.dtype).unflatten(-1, (-1, 1, 2))  # [...,d] -> [...,d/2,1,2]
    turned = rotation[..., 0] * pairs[..., 0] + rotation[..., 1] * pairs[..., 1]  # [...,d/2,2]
    return turned.flatten(-2).type_as(x)


def _rope_of_both(q: torch.Tensor, k: torch.Tensor, rotation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return rope(q, rotation), rope(k, rotation)


def check_gradient(
    loss: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, gradient: torch.Tensor, dtype: torch.dtype
) -> None:
    """GradientMismatch unless ``gradient`` is that of ``loss`` at x, by a central difference along it.

    Args:
        loss: without side effects; called twice, or four times.
        x: latents.
        gradient: like x.
        dtype: in which the model computes.
    """
    size = gradient.norm()
    if not bool(size.isfinite()) or float(size) == 0:
        raise GradientMismatch(_message(f"the gradient's norm is {float(size)}"))
    direction = gradient / size
    difference = 0.0
    for move in MOVES:
        reach = move * float(x.norm())
        with torch.no_grad():
            difference = float(loss(x + reach * direction) - loss(x - reach * direction)) / (2 * reach)
        if abs(difference / float(size) - 1) <= TOLERANCE.get(dtype, 0.5):
            return
    raise GradientMismatch(_message(f"finite difference {difference:.3g}, gradient {float(size):.3g}"))


def _message(found: str) -> str:
    return (
        f"SCS Guider: the gradient through this model does not fit its loss ({found}). This ComfyUI, or another pack, "
        "changes the model in a way that guidance does not know. Set tau to 0 to sample without guidance, take "
        "wrappers such as compile, caches or quantised attention off the model, or update this pack"
    )
