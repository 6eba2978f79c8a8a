"""The text encoder and the transformer of ``emoji_wan`` as one model, and its loss: flow matching.

    x_s = (1 - s) x_0 + s e,    v = e - x_0,    loss = E |v_hat(x_s, 1000 s, text) - v|^2

with e ~ N(0, 1) and noise levels s of u in [0, 1) by Wan's shift: s = k u / (1 + (k - 1) u), k = 3.
"""

from __future__ import annotations

import torch
from torch import nn

from .attention import padding_bias, use_plain_attention
from .wan_models import FLOW_SHIFT, TRAIN_TIMESTEPS, new_text_encoder, new_transformer


def shifted(u: torch.Tensor, shift: float = FLOW_SHIFT) -> torch.Tensor:
    """The noise level of each ``u`` in [0, 1], [B]: more of them high, where text decides."""
    return shift * u / (1 + (shift - 1) * u)


def stratified(batch: int) -> torch.Tensor:
    """One number from each of B equal parts of (0, 1], [B], in random order."""
    return ((torch.arange(batch) + 1 - torch.rand(batch)) / batch)[torch.randperm(batch)]


class TextToVideo(nn.Module):
    """Text encoder and transformer, trained together.

    Args:
        vocabulary_size: number of tokens.
    """

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.text_encoder = new_text_encoder(vocabulary_size)
        self.text_encoder.set_attn_implementation("eager")
        self.transformer = new_transformer()
        self.cross_attention = use_plain_attention(self.transformer)

    def context(self, ids: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Encoded texts [B, T, D], zero past each one's end, as WanPipeline gives them to the transformer.

        Args:
            ids: tokens [B, T], the last of which is padding.
            attended: 1 for tokens, 0 for padding, [B, T].
        """
        text = self.text_encoder(ids, attended).last_hidden_state
        return text * attended.unsqueeze(-1)

    def predict(self, x: torch.Tensor, level: torch.Tensor, ids: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """The velocity [B, C, F, h, w] at noise levels ``level`` [B] in 0..1."""
        text = self.context(ids, attended)
        self.cross_attention.bias = padding_bias(attended)
        return self.transformer(x, level * TRAIN_TIMESTEPS, text, return_dict=False)[0]

    def loss(self, x0: torch.Tensor, ids: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Flow matching's loss of normalised latents ``x0`` [B, C, F, h, w] with their captions."""
        level = shifted(stratified(len(x0))).to(x0.device)
        noise = torch.randn(x0.shape).to(x0.device)
        s = level.view(-1, 1, 1, 1, 1)
        velocity = self.predict((1 - s) * x0 + s * noise, level, ids, attended)
        return (velocity.float() - (noise - x0)).square().mean()

    def compile_blocks(self) -> None:
        """Compile the transformer's block, once for all layers."""
        for block in self.transformer.blocks:
            block.compile(dynamic=False)

    def __deepcopy__(self, memo: dict) -> TextToVideo:
        """A copy with its own weights and none of the compiled code."""
        copied = TextToVideo(self.text_encoder.config.vocab_size)
        copied.load_state_dict(self.state_dict())
        return copied.to(next(self.parameters()).device)
