"""Attention: PyTorch's fused kernel, or written out where that is faster."""

from __future__ import annotations

from typing import Any

import torch


class FastAttention:
    """Fused attention, except for short sequences on a CPU, for which the fused backward pass is several times slower.

    Scores of up to 256 x 256 fit a core's cache; longer ones would cost the memory that the fused kernel saves.
    """

    LONGEST = 256

    def __init__(self) -> None:
        from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

        self.written_out, self.fused = AttnProcessor(), AttnProcessor2_0()

    def __call__(
        self,
        attention: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        short = max(hidden_states.shape[1], context.shape[1]) <= self.LONGEST
        processor = self.written_out if short and hidden_states.device.type == "cpu" else self.fused
        return processor(attention, hidden_states, encoder_hidden_states, *args, **kwargs)
