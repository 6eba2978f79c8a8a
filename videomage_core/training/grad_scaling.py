"""Gradients in half precision, which rounds small ones to zero: of a loss that is scaled up, and scaled back."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def loss_scale_for(dtype: torch.dtype) -> float:
    """What ``fit`` should scale the loss by for a base of that precision: fp16 rounds small gradients to zero."""
    return 1024.0 if dtype == torch.float16 else 1.0


def scaled_gradients(loss: torch.Tensor, inputs: Sequence[torch.Tensor], scale: float) -> list[torch.Tensor | None]:
    """The gradients of a loss, taken ``scale`` times larger and brought back, so that half precision keeps small ones.

    Where that is too much for half precision they are taken again, scaled less.

    Args:
        loss: [].
        inputs: to which.
        scale: a power of two; 1 changes nothing.

    Returns:
        Like the inputs, None for those that the loss does not depend on; not finite only if the loss's own are not.
    """
    while True:
        gradients = torch.autograd.grad(loss * scale, inputs, retain_graph=scale > 1, allow_unused=True)
        if scale <= 1 or all(g is None or bool(g.isfinite().all()) for g in gradients):
            return [None if g is None else g / scale for g in gradients]
        scale /= 2


def with_gradients(
    loss: torch.Tensor, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor | None]
) -> torch.Tensor:
    """A term of that value and these gradients, for a loss whose backward pass cannot wait until ``fit`` takes it.

    Args:
        loss: [].
        parameters: what is trained.
        gradients: of the loss, for each parameter; None where there is none.
    """
    terms = [(p * g).sum() for p, g in zip(parameters, gradients, strict=True) if g is not None]
    carrier = torch.stack(terms).sum()
    return loss.detach() + (carrier - carrier.detach())
