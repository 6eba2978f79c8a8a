"""A small real SentencePiece model in UMT5's manner: 0 pads, 1 ends, rare characters fall apart into bytes."""

from __future__ import annotations

import io

SENTENCES = [
    "a dog is riding a cat on the beach", "a stuffed animal is chasing a dog", "two dogs and a robot dance in snow",
    "a red fox walks beside a grey cat", "a photo of a person riding a horse", "the cat sits in a small boat",
    "a robot is jumping over a stuffed animal", "dogs run, cats sleep, and foxes (young ones) play",
    "un chien court dans la neige", "une petite fille danse au café", "ein Hund reitet auf einem Pferd",
]  # fmt: skip


def trained_model(pieces: int = 420) -> bytes:
    """The serialised model."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20), model_writer=model, vocab_size=pieces, byte_fallback=True,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    return model.getvalue()
