"""Prompts with special tokens: "A <toy> is riding a <dog>".

A special token stands for one or several learned vectors and knows its superclass words
("stuffed animal").  It is written in angle brackets, so it needs no boundary rules:
``<toy>`` in ``<toy>s`` is the token followed by an "s", and ``<toy_1>`` never matches in
``<toy_10>``.  Case does not matter.  A bracketed name that no loaded token has is an error.

Neither tokenizer nor token table is ever changed.  The text around a special token is
tokenized as usual, the token's places are filled with a placeholder, and the learned vectors
replace the placeholder's rows on their way into the encoder.  So nothing has to be restored,
every other row stays bit-identical, and gradients reach the vectors and nothing else.

Spans (where a token stands) come from this substitution itself, by occurrence.  A superclass
prompt is encoded by the same substitution with plain words, piece by piece, so its spans match
those of the original also where a letter follows a token ("<toy>s" is "toy" and "s", not "toys").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

_SPECIAL = re.compile(r"<[A-Za-z0-9_-]+>")


@dataclass(frozen=True)
class SpecialToken:
    """A learned token.

    Attributes:
        name: as in prompts, e.g. "<toy>"; letters, digits, "_" and "-" in angle brackets.
        vectors: its embeddings [k, D].
        superclass: the subject's class in plain words, e.g. "stuffed animal".
    """

    name: str
    vectors: torch.Tensor
    superclass: str

    def __post_init__(self) -> None:
        check_token(self.name, self.superclass)
        if self.vectors.ndim != 2 or len(self.vectors) == 0:
            raise ValueError(
                f"vectors of {self.name}: got shape {tuple(self.vectors.shape)}, must be [k, D] with k >= 1"
            )


def check_token(name: str, superclass: str) -> None:
    """Raise ValueError for an invalid token name or an empty superclass."""
    if not _SPECIAL.fullmatch(name):
        raise ValueError(
            f"token: got {name!r}, allowed are letters, digits, '_' and '-' in angle brackets, e.g. '<toy>'"
        )
    if not superclass.strip():
        raise ValueError(f"superclass of {name}: got nothing, give the kind of thing it is, e.g. 'dog'")


@dataclass(frozen=True)
class TokenSpan:
    """Positions of a word among the text tokens.

    Attributes:
        word: the special token's name, or the plain word.
        positions: one per token.
    """

    word: str
    positions: tuple[int, ...]


@dataclass(frozen=True)
class _Tokenized:
    ids: list[int]  # padded
    count: int  # without padding
    spans: list[TokenSpan]
    learned: list[TokenSpan]  # the spans that learned vectors fill


def superclass_prompt(text: str, tokens: Sequence[SpecialToken]) -> str:
    """c~_tgt of Sec. 3.3 as text: "A <toy> is riding a <dog>" -> "A toy is riding a dog".

    To encode it, pass the original text to ``PromptEncoder.encode`` with ``as_superclass``.
    """
    known = _by_name(tokens)
    return "".join(known[part].superclass if part in known else part for part in _parts(text, known))


class PromptEncoder:
    """A CLIP tokenizer and text encoder with support for special tokens; other kinds derive from it."""

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        self.tokenizer, self.text_encoder = tokenizer, text_encoder
        self.length, self.begin = int(tokenizer.model_max_length), [tokenizer.bos_token_id]

    def encode(self, texts: Sequence[str], tokens: Sequence[SpecialToken] = (), as_superclass: bool = False) -> Any:
        """Encoded prompts, here embeddings [B, T, D]; gradients flow to the tokens' vectors.

        Args:
            texts: B prompts.
            tokens: the special tokens they may use.
            as_superclass: encode superclass words instead of the tokens.

        Raises:
            ValueError: a prompt is too long, or names a special token that is not among ``tokens``.
        """
        known = self._known(tokens)
        rows = [self._tokenize(text, known, as_superclass) for text in texts]
        device = self.text_encoder.device
        ids = torch.tensor([row.ids for row in rows], device=device)
        with _replaced_rows(self._embedding_layer(), rows, known):
            return self._embed(ids, [row.count for row in rows])

    def _known(self, tokens: Sequence[SpecialToken]) -> dict[str, SpecialToken]:
        """The tokens by name; ValueError for vectors of another base."""
        width = self._embedding_layer().weight.shape[1]
        for token in tokens:
            if token.vectors.shape[1] != width:
                raise ValueError(
                    f"token {token.name}: its vectors have width {token.vectors.shape[1]}, those of this base have "
                    f"{width}; its LoRA was trained on another base"
                )
        return _by_name(tokens)

    def _embedding_layer(self) -> Any:
        """The layer that looks up the table of tokens."""
        return self.text_encoder.get_input_embeddings()

    def _embed(self, ids: torch.Tensor, counts: Sequence[int]) -> Any:
        """The encoder's output for ids [B, T], of which each row has as many before its padding."""
        return self.text_encoder(ids)[0]

    def spans(self, text: str, tokens: Sequence[SpecialToken], as_superclass: bool = False) -> list[TokenSpan]:
        """Positions of each special token of ``text``, in the order of the text.

        Args:
            text: a prompt with special tokens.
            tokens: the special tokens it may use.
            as_superclass: positions of the superclass words, as ``encode`` with ``as_superclass`` places them.
        """
        return self._tokenize(text, _by_name(tokens), as_superclass).spans

    def word_spans(self, text: str, word: str, tokens: Sequence[SpecialToken] = ()) -> list[TokenSpan]:
        """Positions of each occurrence of a plain word or phrase.

        Args:
            text: a prompt.
            word: plain words in it.
            tokens: the special tokens the prompt may use as well.

        Raises:
            ValueError: the text does not contain the word.
        """
        ids, target = self._tokenize(text, _by_name(tokens), False).ids, self._plain_ids(word)
        starts = [i for i in range(len(ids)) if target and ids[i : i + len(target)] == target]
        if not starts:
            raise ValueError(f"word: got {word!r}, which does not stand in the prompt {text!r}")
        return [TokenSpan(word, tuple(range(start, start + len(target)))) for start in starts]

    def initial_vectors(self, words: str, count: int) -> torch.Tensor:
        """Initial vectors [count, D] of a new token: those of ``words``, repeated or averaged."""
        ids = self._plain_ids(words)
        if not ids:
            raise ValueError(f"words: got {words!r}, which holds no token to start from")
        table = self._embedding_layer().weight.detach()
        if count >= len(ids):
            return torch.stack([table[ids[i % len(ids)]] for i in range(count)]).float().clone()
        parts = torch.tensor(ids, device=table.device).tensor_split(count)
        return torch.stack([table[part].float().mean(0) for part in parts])

    def _plain_ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)

    def _tokenize(self, text: str, known: dict[str, SpecialToken], as_superclass: bool) -> _Tokenized:
        tokenizer = self.tokenizer
        ids, spans = list(self.begin), []
        for part in _parts(text, known):
            token = known.get(part)
            if token is None:
                ids += self._plain_ids(part)
                continue
            filling = (
                self._plain_ids(token.superclass) if as_superclass else [tokenizer.eos_token_id] * len(token.vectors)
            )
            spans.append(TokenSpan(part, tuple(range(len(ids), len(ids) + len(filling)))))
            ids += filling
        ids.append(tokenizer.eos_token_id)
        ends = len(self.begin) + 1
        if len(ids) > self.length:
            raise ValueError(
                f"prompt: got {len(ids) - ends} tokens, at most {self.length - ends} fit; shorten {_shown(text)}"
            )
        padding = [tokenizer.pad_token_id] * (self.length - len(ids))
        return _Tokenized(ids + padding, len(ids), spans, [] if as_superclass else spans)


@contextmanager
def _replaced_rows(embedding_layer: Any, rows: Sequence[_Tokenized], known: dict[str, SpecialToken]) -> Iterator[None]:
    """Inside, the token embedding layer returns the learned vectors at the special tokens' positions."""
    places = [(b, span) for b, row in enumerate(rows) for span in row.learned]

    def replace(_: Any, __: Any, embedded: torch.Tensor) -> torch.Tensor:  # [B,T,D]
        if not places:
            return embedded
        vectors = torch.cat([known[span.word].vectors for _, span in places]).to(embedded)
        batch = torch.tensor([b for b, span in places for _ in span.positions], device=embedded.device)
        position = torch.tensor([p for _, span in places for p in span.positions], device=embedded.device)
        return embedded.index_put((batch, position), vectors)

    hook = embedding_layer.register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()


def require_plain_words(text: str) -> None:
    """ValueError if a text uses a special token where none is allowed."""
    match = _SPECIAL.search(text)
    if match:
        raise ValueError(
            f"prompt: got {_shown(text)}, and {match.group()} stands for one subject; say in plain words what is "
            "seen, e.g. 'a dog'"
        )


_WEB_UI = (
    (re.compile(r"<(lora|lyco|hypernet|embedding):[^>]*>", re.IGNORECASE), "load LoRAs by nodes or --lora"),
    (re.compile(r"\([^()]*:\s*[0-9.]+\s*\)|\(\([^()]*\)\)"), "brackets give words no weight here"),
    (re.compile(r"\b(BREAK|AND)\b(?=.*\S)|\{[^{}]*\|[^{}]*\}|\bembedding:\S+|__[\w/]+__"), "it has no effect here"),
)


def prompt_warnings(text: str, tokens: Sequence[SpecialToken] = ()) -> list[str]:
    """What a prompt probably means otherwise than it is read: a sentence each.

    Args:
        text: the prompt.
        tokens: of the LoRAs that act on it.
    """
    known = [token.name for token in tokens]
    missing = [name for name in known if name.lower() not in text.lower()]
    warnings = []
    if missing:
        what = "no token of its LoRAs" if len(missing) == len(known) else "not all tokens of its LoRAs"
        warnings.append(
            f"prompt: it names {what}; without {', '.join(missing)} a subject may not show: write e.g. 'A {missing[0]}'"
        )
    for pattern, cure in _WEB_UI:
        match = pattern.search(text)
        if match:
            warnings.append(f"prompt: {match.group()!r} is read as plain words, not as a web UI does; {cure}")
    return warnings


def _by_name(tokens: Sequence[SpecialToken]) -> dict[str, SpecialToken]:
    known = {token.name.lower(): token for token in tokens}
    if len(known) != len(tokens):
        names = sorted(token.name for token in tokens)
        raise ValueError(f"tokens: got {', '.join(names)}; two share a name, rename one of them")
    return known


def _parts(text: str, known: dict[str, SpecialToken]) -> list[str]:
    """The text split at its special tokens, which are lower-cased as in ``known``."""
    parts, end = [], 0
    for match in _SPECIAL.finditer(text):
        name = match.group().lower()
        if name not in known:
            have = f"the loaded tokens are {', '.join(known)}" if known else "no LoRA with a token is loaded"
            raise ValueError(f"prompt: {match.group()} is not known; {have}. Load its LoRA or correct {_shown(text)}")
        parts += [text[end : match.start()], name]
        end = match.end()
    return [part for part in (*parts, text[end:]) if part]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
