"""ComfyUI's CLIP as a list of token columns: its tokenizer's own tokens, with learned vectors among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...videomage_core.model.prompt_spans import Encode, Place, columns, tokenized
from ...videomage_core.model.sentencepieces import encoder_of

SPANS = "videomage_spans"  # in a CONDITIONING's options: [{"word", "start", "end"}, ...], token columns in order
MOST_TOKENS = 512  # what Wan was trained with, the end token among them
HOW = "wire a 'Load CLIP' of type wan, with umt5_xxl_fp8_e4m3fn_scaled.safetensors"


class WanText:
    """The UMT5 of a CLIP.

    Raises:
        ValueError: there is no CLIP, or it is not Wan's.
    """

    def __init__(self, clip: Any) -> None:
        if clip is None:
            raise ValueError(f"clip: got nothing; {HOW}")
        empty = clip.tokenize("")
        names, own = list(empty), getattr(clip.tokenizer, "clip", "")
        tokenizer = getattr(getattr(clip.tokenizer, own, None), "tokenizer", None)
        try:
            self.encode: Encode = encoder_of(getattr(tokenizer, "tokenizer", None))
        except TypeError as error:
            raise ValueError(f"clip: got the text encoder {', '.join(names)}, must be Wan's UMT5; {HOW}") from error
        self.clip, self.name, self.ends = clip, names[0], empty[names[0]][0]

    @property
    def width(self) -> int:
        """D of the vectors that its tokens stand for."""
        model = self.clip.cond_stage_model
        return int(getattr(model, model.clip).transformer.get_input_embeddings().weight.shape[-1])

    def conditioning(
        self, prompt: str, places: Sequence[Place], vectors: Mapping[str, torch.Tensor] | None = None
    ) -> Any:
        """A prompt's CONDITIONING, with the token columns of its subjects in its options.

        Args:
            prompt: either branch's.
            places: its subjects' characters.
            vectors: [k, D] by the words they stand for.

        Raises:
            ValueError: a subject beyond the end, vectors of another width, or a tokenizer that cuts otherwise.
        """
        vectors = vectors or {}
        for word, rows in vectors.items():
            if rows.shape[-1] != self.width:
                raise ValueError(
                    f"learned_tokens: the vectors of {word} have width {rows.shape[-1]}, those of this text encoder "
                    f"have {self.width}; its LoRA was trained on another base"
                )
        if self._row(prompt, places, {}) != self.clip.tokenize(prompt)[self.name][0]:
            raise ValueError(
                "prompt: this ComfyUI's tokenizer cuts it otherwise than this pack expects, so the subjects' places "
                "would be wrong; update the pack, and report the prompt if that does not help"
            )
        spans = columns(tokenized(prompt, places, self.encode, vectors), places, MOST_TOKENS)
        row = self._row(prompt, places, vectors)
        return self.clip.encode_from_tokens_scheduled({self.name: [row]}, add_dict={SPANS: [vars(s) for s in spans]})

    def plain(self, prompt: str) -> Any:
        """A prompt's CONDITIONING as ComfyUI's own node makes it."""
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(prompt))

    def _row(
        self, prompt: str, places: Sequence[Place], vectors: Mapping[str, torch.Tensor]
    ) -> list[tuple[Any, float]]:
        """(token, weight) for each column, then the end token and what pads to ComfyUI's length."""
        row = [(token.value, token.weight) for token in tokenized(prompt, places, self.encode, vectors)]
        return row + self.ends[: max(1, len(self.ends) - len(row))]
