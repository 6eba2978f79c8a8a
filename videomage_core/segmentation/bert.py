"""BERT as GroundingDINO's package reads a caption with it, in the place of the package's own wrapper.

The wrapper ``BertModelWarper`` calls methods of transformers that are gone since 5.0, names arguments that are gone
since 5.24, and reads fields that are announced to go.  What is left here is what all versions have: embeddings by the
names of what they read, and an encoder with a mask that is added to attention's scores.
"""

from __future__ import annotations

from typing import Any

import torch


class Bert(torch.nn.Module):
    """What the package makes of transformers' ``BertModel``; the names of the weights are the wrapper's too."""

    def __init__(self, bert_model: Any) -> None:
        super().__init__()
        self.config = bert_model.config
        self.embeddings, self.encoder = bert_model.embeddings, bert_model.encoder
        self.pooler = bert_model.pooler  # never used; published files have its weights

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """``last_hidden_state``, [B, T, D].

        Args:
            input_ids: [B, T].
            attention_mask: [B, T, T], 1 where a token sees another one, or [B, T], 1 for tokens that all see.
            token_type_ids: [B, T]; None: all 0.
            position_ids: [B, T]; None: 0, 1, 2, ...
        """
        read = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids)
        return {"last_hidden_state": self.encoder(read, attention_mask=added(attention_mask, read.dtype))[0]}


def added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to attention's scores: 0 where ``mask`` is 1, the smallest number where it is 0.

    Args:
        mask: [B, T, T] or [B, T]; -> [B, 1, T, T] or [B, 1, 1, T].
        dtype: of the result.
    """
    spread = mask[:, None] if mask.ndim == 3 else mask[:, None, None]
    return (1.0 - spread.to(dtype)) * torch.finfo(dtype).min
