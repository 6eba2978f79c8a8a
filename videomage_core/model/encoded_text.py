"""Encoded prompts as stages see them: a batch that can be cut and put together, and nothing else.

A base gives them from ``encode_prompt`` and takes them in ``predict``; what is in them is its own matter.  A tensor
[B, T, D] is one; a base whose prompts are more than a tensor brings a class of its own with ``embeddings`` and
``concat``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import torch


class EncodedText(Protocol):
    """B encoded prompts."""

    def __len__(self) -> int:
        """B."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Some of them."""


Text = TypeVar("Text", bound=EncodedText)


def concat_texts(texts: Sequence[Text]) -> Text:
    """Several batches as one, in order."""
    batches: Any = list(texts)
    joined: Any = torch.cat(batches) if isinstance(batches[0], torch.Tensor) else batches[0].concat(batches)
    return joined


def repeat_text(text: Text, count: int) -> Text:
    """One prompt as a batch of ``count``."""
    one: Any = text
    repeated: Any = one.expand(count, -1, -1) if isinstance(one, torch.Tensor) else concat_texts([text] * count)
    return repeated


def values_of(text: EncodedText) -> torch.Tensor:
    """All numbers of some prompts, to recognise what encoded them."""
    whole: Any = text
    values: torch.Tensor = whole if isinstance(whole, torch.Tensor) else whole.embeddings
    return values
