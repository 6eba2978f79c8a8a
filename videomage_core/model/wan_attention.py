"""Attention of Wan's blocks: what diffusers' own processor computes, with a text of which one place stands for all
padding, and with M_SCA and M_TSA taken where they are asked for (``dit_maps``).

A text passes the blocks as a ``TextContext``, so that what a block is computed from, and computed from again in the
backward pass, is all in its arguments.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from .attention_maps import AttentionLayer, Recording
from .dit_maps import cross_maps, temporal_maps, token_grid

_WRITTEN_OUT = 512**2  # scores of a head up to which a CPU is faster without the fused kernel, backwards above all


class TextContext(NamedTuple):
    """A text on its way through the blocks.

    Attributes:
        embedding: [B, T, D] after the text projection.
        bias: added to cross-attention's scores, [B, 1, 1, T].
        only_real: the same, for maps over the prompt's own tokens.
    """

    embedding: torch.Tensor
    bias: torch.Tensor
    only_real: torch.Tensor


class WanAttentionProcessor:
    """A processor of diffusers' WanAttention."""

    def __call__(
        self,
        attention: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: TextContext | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        text = encoder_hidden_states
        source = hidden_states if text is None else text.embedding
        query, key = attention.norm_q(attention.to_q(hidden_states)), attention.norm_k(attention.to_k(source))
        query, key, value = (x.unflatten(2, (attention.heads, -1)) for x in (query, key, attention.to_v(source)))
        if rotary_emb is not None:
            query, key = rotate(query, *rotary_emb), rotate(key, *rotary_emb)  # [B,N,H,d]
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))  # [B,N,H,d] -> [B,H,N,d]
        self.observe(query, key, value, text)
        mixed = attend(query, key, value, None if text is None else text.bias.to(query))
        output: torch.Tensor = attention.to_out[0](mixed.transpose(1, 2).flatten(2))  # [B,H,N,d] -> [B,N,H*d]
        return output

    def observe(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, text: TextContext | None) -> None:
        """For those who look at q, k and v, [B, H, N or T, d], normed and after rotary embedding."""


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Attention [B, H, N, d], by plain products where that is faster."""
    if query.device.type == "cpu" and query.shape[2] * key.shape[2] <= _WRITTEN_OUT:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [B,H,N,M]
        return (scores if bias is None else scores + bias).softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value, bias)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of [B, N, H, d], whose pairs are neighbours; ``cos`` and ``sin`` [1, N, 1, d] hold each twice.

    In the precision of the tables, as diffusers does.
    """
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    c, s = cos[..., 0::2], sin[..., 1::2]
    return torch.stack([even * c - odd * s, even * s + odd * c], dim=-1).flatten(-2).type_as(x)


class WanRecordingProcessor(WanAttentionProcessor):
    """The same, and the layer's map is recorded."""

    def __init__(self, layer: AttentionLayer, recording: Recording, heads: torch.Tensor) -> None:
        """``heads``: bool [H], those of which M_TSA is the mean."""
        self.layer, self.recording, self.heads = layer, recording, heads

    def observe(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, text: TextContext | None) -> None:
        rows, shape = self.recording.rows, self.recording.shape
        grid = token_grid((shape.frames, shape.height, shape.width))

        def of(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            if text is None:
                return temporal_maps(q[rows], k[rows], shape.frames, self.heads.to(q.device))
            spans = [[(span.positions[0], span.positions[-1] + 1)] for span in self.recording.spans]
            maps = cross_maps(q[rows], k[rows], spans, bias=text.only_real[rows])
            return maps.unflatten(-1, grid)  # [B,K,f*h*w] -> [B,K,f,h,w]

        self.recording.take(self.layer, of, query, key)
