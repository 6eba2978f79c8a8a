"""Three methods that GroundingDINO's package calls on the BERT it wraps, and that BERT lost in transformers 5.

Up to 4.57 they came with every model of transformers; here they are written anew, and given to the one
object that the package wraps.
"""

from __future__ import annotations

from typing import Any

import torch

NAMES = ("get_head_mask", "get_extended_attention_mask", "invert_attention_mask")


def give_back_masks(bert: Any) -> Any:
    """The same BERT; what it lacks of the three methods, it has afterwards, this object alone."""

    def smallest() -> float:
        return torch.finfo(bert.dtype).min

    def get_head_mask(head_mask: torch.Tensor | None, layers: int, *_: Any, **__: Any) -> Any:
        """None for each layer: all heads count.  GroundingDINO never leaves one out."""
        if head_mask is not None:
            raise NotImplementedError("head_mask: GroundingDINO passes none, and transformers 5 knows none")
        return [None] * layers

    def get_extended_attention_mask(mask: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """What is added to attention's scores: 0 where ``mask`` is 1, the smallest number where it is 0.

        Args:
            mask: [B, T], or [B, T, T] where each token sees others; -> [B, 1, 1, T] or [B, 1, T, T].
        """
        spread = mask[:, None] if mask.ndim == 3 else mask[:, None, None]
        return (1.0 - spread.to(bert.dtype)) * smallest()

    def invert_attention_mask(mask: torch.Tensor) -> torch.Tensor:
        return get_extended_attention_mask(mask)

    own = (get_head_mask, get_extended_attention_mask, invert_attention_mask)
    for name, method in zip(NAMES, own, strict=True):
        if not hasattr(bert, name):
            setattr(bert, name, method)
    return bert
