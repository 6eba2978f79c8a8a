"""A SentencePiece tokenizer's tokens with the characters they stand for, in each version of the package."""

from __future__ import annotations

from typing import Any

from .prompt_spans import Encode, Piece


def encoder_of(processor: Any) -> Encode:
    """How a ``sentencepiece.SentencePieceProcessor`` cuts a text; no begin and no end token.

    Raises:
        TypeError: it is another kind of tokenizer.
        ImportError: the package is older than 0.1.97 and tells no characters.
    """
    if not hasattr(processor, "serialized_model_proto"):
        raise TypeError(f"tokenizer: got {type(processor).__name__}, must be a SentencePieceProcessor")
    bare = {"add_bos": False, "add_eos": False}

    def mapped(text: str) -> list[Piece]:
        cut = processor.encode(text, return_type="offset_mapping", **bare)
        return [Piece(id, *offsets) for id, offsets in zip(cut["ids"], cut["offsets"], strict=True)]

    def proto(text: str) -> list[Piece]:
        cut = processor.encode(text, out_type="immutable_proto", **bare)
        return [Piece(piece.id, piece.begin, piece.end) for piece in cut.pieces]

    if hasattr(processor, "encode_as_offset_mapping"):
        return mapped
    if hasattr(processor, "encode_as_immutable_proto"):
        return proto
    raise ImportError("sentencepiece: this version is too old to say where tokens stand; pip install -U sentencepiece")
