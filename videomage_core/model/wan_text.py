"""Prompts for Wan: a UMT5 encoder, whose texts end with ``</s>`` and are zero from there on.

The transformer attends to 512 places, of which a prompt fills a few; the others are zeros, all alike after the text
projection.  One of them stands for all here: with log(512 - n) added to its score in cross-attention it takes exactly
their part of the softmax, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from .text import PromptEncoder

LENGTH = 512  # places of a text, as WanPipeline and Wan's authors have them
_ALIGNED = 8  # fused attention wants the number of keys to be a multiple


@dataclass(frozen=True)
class PaddedText:
    """B encoded prompts (``encoded_text.EncodedText``).

    Attributes:
        embeddings: [B, T, D], zero past each prompt's end; T is more than the longest has, or ``LENGTH``.
        counts: [B], tokens of each, with ``</s>``.
    """

    embeddings: torch.Tensor
    counts: torch.Tensor

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, rows: slice) -> PaddedText:
        return PaddedText(self.embeddings[rows], self.counts[rows])

    @staticmethod
    def concat(texts: Sequence[PaddedText]) -> PaddedText:
        """One batch, padded to the longest."""
        most = max(text.embeddings.shape[1] for text in texts)
        padded = [F.pad(text.embeddings, (0, 0, 0, most - text.embeddings.shape[1])) for text in texts]
        return PaddedText(torch.cat(padded), torch.cat([text.counts for text in texts]))

    def bias(self) -> torch.Tensor:
        """What to add to cross-attention's scores, [B, 1, 1, T]: the first place of padding stands for all."""
        places, counts = torch.arange(self.embeddings.shape[1], device=self.counts.device), self.counts[:, None]
        bias = torch.full(self.embeddings.shape[:2], float("-inf"), device=self.counts.device)
        bias = torch.where(places < counts, torch.zeros_like(bias), bias)
        bias = torch.where(places == counts, (LENGTH - counts).clamp(min=1).float().log(), bias)
        return bias[:, None, None]

    def only_real(self) -> torch.Tensor:
        """The same, with nothing left for padding: the softmax over the prompt's own tokens."""
        places = torch.arange(self.embeddings.shape[1], device=self.counts.device)
        real = places < self.counts[:, None]
        return torch.zeros(real.shape, device=real.device).masked_fill(~real, float("-inf"))[:, None, None]


class Umt5PromptEncoder(PromptEncoder):
    """A sentencepiece tokenizer and a UMT5 encoder with support for special tokens."""

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        super().__init__(tokenizer, text_encoder)
        self.length, self.begin = LENGTH, []

    def _plain_ids(self, text: str) -> list[int]:
        return super()._plain_ids(" ".join(text.split()))

    def _embedding_layer(self) -> Any:
        return self.text_encoder.encoder.embed_tokens  # which may be another module than ``shared``, of the same table

    def _embed(self, ids: torch.Tensor, counts: Sequence[int]) -> Any:
        places = min(LENGTH, -(-(max(counts) + 1) // _ALIGNED) * _ALIGNED)
        ids, many = ids[:, :places], torch.tensor(list(counts), device=ids.device)
        attended = torch.arange(places, device=ids.device) < many[:, None]
        embeddings = self.text_encoder(ids, attended.long()).last_hidden_state
        return PaddedText(embeddings * attended[..., None], many)
