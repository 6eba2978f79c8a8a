"""Whatever version of sentencepiece is installed: its ids, and places in characters, not bytes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.tiny_sentencepiece import trained_model
from videomage_core.model.sentencepieces import encoder_of

sentencepiece = pytest.importorskip("sentencepiece")


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("text", ["a dog is riding", "  café 🦊  dog\n", "骑 dog", ""])
def test_ids_are_the_tokenizers_and_places_are_characters(text: str, ends: bool) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=trained_model(), add_bos=False, add_eos=ends)
    pieces = encoder_of(processor)(text)
    assert [piece.id for piece in pieces] == processor.encode(text, add_eos=False)
    assert "".join(text[piece.start : piece.end] for piece in pieces).split() == text.split()


def test_what_is_no_sentencepiece_tokenizer_is_refused() -> None:
    with pytest.raises(TypeError, match="got dict, must be a SentencePieceProcessor"):
        encoder_of({})
    with pytest.raises(ImportError, match="pip install -U sentencepiece"):
        encoder_of(SimpleNamespace(serialized_model_proto=None))
