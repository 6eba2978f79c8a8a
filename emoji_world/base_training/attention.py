"""Attention for training ``emoji_wan`` on a CPU: the same arithmetic as diffusers' processor, shorter.

Wan attends to 512 places of text, of which a caption fills a dozen; the others are zeros, all alike, and
take their share of the softmax.  One such place counted 512 - n times, a bias of log(512 - n) on its logit,
is the same sum in a twentieth of the work.
"""

from __future__ import annotations

import torch
from diffusers import WanTransformer3DModel

from .wan_models import TEXT_LENGTH


def padding_bias(attended: torch.Tensor, length: int = TEXT_LENGTH) -> torch.Tensor:
    """What to add to cross-attention's logits, [B, 1, 1, T], so that T places stand for ``length``.

    Args:
        attended: 1 for each token of a text, 0 for padding after it, [B, T]; the last place is padding.
        length: how many places the padded text has.
    """
    if bool(attended[:, -1].any()):
        raise ValueError(f"attended: a text fills all {attended.shape[1]} places; allowed: one fewer, for padding")
    tokens = attended.sum(1, keepdim=True)  # [B,1]
    places = torch.arange(attended.shape[1], device=attended.device)
    bias = torch.full(attended.shape, float("-inf"), device=attended.device)
    bias = torch.where(places < tokens, torch.zeros_like(bias), bias)
    bias = torch.where(places == tokens, torch.log(length - tokens.float()), bias)
    return bias[:, None, None]


class PlainAttention:
    """A WanAttention's processor by plain matrix products.

    On CPUs PyTorch's fused attention is several times slower backwards at a few dozen places.
    """

    bias: torch.Tensor | None = None  # [B, 1, 1, T], of the text; None where every place counts once

    def __call__(
        self,
        attn: torch.nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(source))
        query, key, value = (x.unflatten(2, (attn.heads, -1)) for x in (query, key, attn.to_v(source)))  # [B,N,h,d]
        if rotary_emb is not None:
            query, key = rotate(query, *rotary_emb), rotate(key, *rotary_emb)
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))  # [B,h,N,d]
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [B,h,N,M]
        if self.bias is not None:
            logits = logits + self.bias
        output = (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)  # [B,N,h*d]
        return attn.to_out[0](output)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of [B, N, h, d], whose pairs are neighbours; ``cos``, ``sin`` [1, N, 1, d]."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    c, s = cos[..., 0::2].to(x), sin[..., 1::2].to(x)
    return torch.stack([even * c - odd * s, even * s + odd * c], dim=-1).flatten(-2)


def use_plain_attention(transformer: WanTransformer3DModel) -> PlainAttention:
    """Give every layer the plain processor; return the one of all cross-attentions, which takes the bias."""
    plain, cross = PlainAttention(), PlainAttention()
    for block in transformer.blocks:
        block.attn1.processor = plain
        block.attn2.processor = cross
    return cross
