"""The built-in base's tokenizer: an ordinary CLIPTokenizer whose vocabulary knows the world's words.

Every word of the world is one token.  Any other text falls back to pieces, down to bytes, as
byte pair encoding does; so an unknown word costs several tokens and never fails.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def byte_symbols() -> list[str]:
    """The 256 printable symbols that byte-level BPE writes for the 256 bytes, as GPT-2 and CLIP do."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    symbols = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(rest)}
    return [symbols[b] for b in (*printable, *rest)]


def apply_merges(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """Byte pair encoding of one word: the earliest merge first."""
    rank = {pair: i for i, pair in enumerate(merges)}
    pieces = [*word[:-1], word[-1] + "</w>"]
    while len(pieces) > 1:
        best = min(itertools.pairwise(pieces), key=lambda pair: rank.get(pair, len(rank)))
        if best not in rank:
            break
        at = next(i for i in range(len(pieces) - 1) if (pieces[i], pieces[i + 1]) == best)
        pieces[at : at + 2] = ["".join(best)]
    return pieces


def merges_for(words: list[str]) -> list[tuple[str, str]]:
    """Merges that make one token of every word.

    Each word is encoded with the merges so far, and what is left in pieces is joined from the
    left.  A later merge never disturbs an earlier word, which uses up its own, earlier ones.
    """
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = apply_merges(word, merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = apply_merges(word, merges)
    return merges


def build_tokenizer(words: list[str], folder: Path) -> CLIPTokenizer:
    """Write ``vocab.json`` and ``merges.txt`` to ``folder`` and load them."""
    merges = merges_for(words)
    symbols = byte_symbols()
    tokens = [*symbols, *(s + "</w>" for s in symbols), *("".join(pair) for pair in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    special = {name: settings[name] for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1) + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)
