"""Encoded prompts as stages see them: a batch that can be cut and put together, and nothing else.

A base gives them from ``encode_prompt`` and takes them in ``predict``; what is in them is its own matter.  A tensor
[B, T, D] is one; a base whose prompts are more than a tensor brings a class of its own with a ``concat``.
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
    first: Any = texts[0]
    return torch.cat(list(texts)) if isinstance(first, torch.Tensor) else first.concat(texts)  # type: ignore[arg-type]


def repeat_text(text: Text, count: int) -> Text:
    """One prompt as a batch of ``count``."""
    if isinstance(text, torch.Tensor):
        return text.expand(count, *text.shape[1:])
    return concat_texts([text] * count)
