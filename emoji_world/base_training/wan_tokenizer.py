"""The tokenizer of ``emoji_wan``: a unigram model with byte fallback, trained by sentencepiece, as UMT5's.

Padding is 0 and ``</s>`` (1) ends every text.  Every word of the world is one token; other words fall into
pieces and at last into bytes, so nothing is unknown.  Unlike UMT5's it folds case: the world's captions are
lower case, and a prompt need not be.

Two files of the same model are written: ``spiece.model`` as sentencepiece reads it, and ``tokenizer.json``
with its config, which transformers' AutoTokenizer opens without the sentencepiece package.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ..world.small_dataset import write_json
from .wan_models import TEXT_LENGTH

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
EXTRA_PIECES = 300  # beside bytes and whole words: syllables and letters for words it does not know
SYLLABLES = tuple(c + v + e for c in "bcdfghjklmnprstvwyz" for v in "aeiou" for e in ("", "l", "n", "r", "s", "t"))


def build_tokenizer(words: Iterable[str], folder: Path) -> PreTrainedTokenizerBase:
    """Train the tokenizer, write it to ``folder`` and load it.

    Args:
        words: the world's words and punctuation, each of which becomes one token.
        folder: where its files go.
    """
    words = sorted({word.lower() for word in words})
    pieces = train_unigram(words, folder / "spiece.model")
    missing = [word for word in words if "▁" + word not in dict(pieces)]
    if missing:
        raise RuntimeError(f"words: sentencepiece split {', '.join(missing)}; raise EXTRA_PIECES ({EXTRA_PIECES})")
    write_fast_tokenizer(pieces, folder)
    return AutoTokenizer.from_pretrained(folder)


def train_unigram(words: list[str], path: Path) -> list[tuple[str, float]]:
    """Train sentencepiece's unigram model on words, each as frequent as the next; return its pieces.

    Args:
        words: lower case.
        path: where the model goes.
    """
    import sentencepiece

    frequent = [f"{word} {word}" for word in words for _ in range(100)]
    rare = [f"{a}{b}" for a in SYLLABLES for b in SYLLABLES[:: len(SYLLABLES) // 24]]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*frequent, *rare]),
        model_writer=model,
        model_type="unigram",
        vocab_size=3 + 256 + len(words) + EXTRA_PIECES,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc_cf",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    loaded = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [(loaded.id_to_piece(i), loaded.get_score(i)) for i in range(loaded.get_piece_size())]


def write_fast_tokenizer(pieces: list[tuple[str, float]], folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` of a unigram model.

    Args:
        pieces: text and score of each, in the order of their ids.
        folder: where the files go.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram

    tokenizer = Tokenizer(Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in (PAD, END, UNKNOWN)])
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Lowercase(), spaces, normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(replacement="▁")])
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", END], special_tokens=[(END, 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": TEXT_LENGTH,
        "padding_side": "right",
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
    }
    write_json(folder / "tokenizer_config.json", settings)
    special = {name: settings[name] for name in ("eos_token", "pad_token", "unk_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1) + "\n", encoding="utf-8")
