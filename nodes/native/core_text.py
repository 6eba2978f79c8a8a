"""ComfyUI's CLIP of type wan as the engine's prompt encoder; the text encoder is not trained through."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch

from ...videomage_core.model.text import SpecialToken
from ...videomage_core.model.wan_text import LENGTH, PaddedText, Umt5PromptEncoder
from .text_encoder import WanText

_END, _PAD = 1, 0  # of UMT5's tokens


class _Tokenizer:
    """What ``PromptEncoder`` asks of a tokenizer, of core's."""

    bos_token_id, eos_token_id, pad_token_id, model_max_length = None, _END, _PAD, LENGTH

    def __init__(self, text: WanText) -> None:
        self._encode = text.encode

    def __call__(self, text: str, **_: Any) -> Any:
        return SimpleNamespace(input_ids=[piece.id for piece in self._encode(text)])


class CorePromptEncoder(Umt5PromptEncoder):
    """Prompts by core's text encoder.

    Args:
        clip: core's CLIP.

    Raises:
        ValueError: it is not Wan's.
    """

    def __init__(self, clip: Any) -> None:
        self.text = WanText(clip)
        super().__init__(_Tokenizer(self.text), clip.cond_stage_model)

    def _embedding_layer(self) -> Any:
        model = self.text.clip.cond_stage_model
        return getattr(model, model.clip).transformer.get_input_embeddings()

    @torch.no_grad()
    def encode(
        self, texts: Sequence[str], tokens: Sequence[SpecialToken] = (), as_superclass: bool = False
    ) -> PaddedText:
        """See ``PromptEncoder``; without gradients."""
        known = self._known(tokens)
        rows = [self._tokenize(text, known, as_superclass) for text in texts]
        encoded, counts = [], [row.count for row in rows]
        for row in rows:
            columns: list[Any] = list(row.ids[: row.count])
            for span in row.learned:
                vectors = known[span.word].vectors.detach().float().cpu()
                for position, vector in zip(span.positions, vectors, strict=True):
                    columns[position] = vector
            columns += [pad for pad, _ in self.text.ends[1 : max(1, 1 + len(self.text.ends) - row.count)]]
            condition = self.text.clip.encode_from_tokens({self.text.name: [[(column, 1.0) for column in columns]]})
            encoded.append(condition[:, :LENGTH].float().clone())
        most = min(LENGTH, max(counts) + 1)
        padded = [torch.nn.functional.pad(one, (0, 0, 0, max(0, most - one.shape[1])))[:, :most] for one in encoded]
        embeddings, many = torch.cat(padded), torch.tensor(counts, device=padded[0].device)
        real = torch.arange(most, device=many.device) < many[:, None]
        return PaddedText(embeddings * real[..., None], many)
