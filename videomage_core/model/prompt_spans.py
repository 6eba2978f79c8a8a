"""One prompt for both branches of SCS: c_tgt and c~_tgt of Sec. 3.3, and where each subject stands in them.

Subjects are named by words of the prompt itself, the trigger words of their LoRAs, each with its superclass:
"ohwx dog = dog".  c_tgt is the prompt; c~_tgt is the prompt with the superclass in the place of every occurrence.
Spans are kept from the substitution, by occurrence: a class of two words, a word that comes twice and a class
that stands elsewhere in the prompt too need no rule of their own.

A subject's words are whole words ("dog" is not found in "dogs"), except beside scripts without blanks between
words.  Case does not matter, nor how many blanks there are.  ``emphasis`` says how ComfyUI reads parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from .emphasis import Segment, escaped, segments

_NO_BLANKS = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # Thai and Lao, kana, Chinese, Hangul
_LETTER = rf"[^\W{_NO_BLANKS}]"
_LORA = re.compile(r"<(?:lora|lyco|hypernet):([^<>:]*)[^<>]*>", re.IGNORECASE)
_EMBEDDING = re.compile(r"\bembedding:(\S*)", re.IGNORECASE)
_BRACKETED = re.compile(r"<[A-Za-z0-9_-]+>")
HOW = "write a line for each subject, its words in the prompt and what it is: ohwx dog = dog"


@dataclass(frozen=True)
class MarkedSubject:
    """A subject by its words in the prompt ("ohwx dog", "<toy>") and its superclass ("dog")."""

    words: str
    superclass: str


@dataclass(frozen=True)
class Place:
    """Where a subject's words, or its superclass, stand: [start, end) of characters, or of token columns."""

    word: str
    start: int
    end: int


@dataclass(frozen=True)
class MarkedPrompt:
    """c_tgt and c~_tgt, with the characters of each subject; entry n of both lists is the same occurrence."""

    subject: str
    motion: str
    subject_places: tuple[Place, ...]
    motion_places: tuple[Place, ...]


@dataclass(frozen=True)
class Piece:
    """A token of a text: its id, and the characters [start, end) it stands for; some stand for none."""

    id: int
    start: int
    end: int


Encode = Callable[[str], Sequence[Piece]]  # a text's tokens, without the end token


@dataclass(frozen=True)
class Token:
    """A column of the text encoder's input: an id or a learned vector [D], its weight, its characters in the prompt."""

    value: int | torch.Tensor
    weight: float
    start: int
    end: int


def read_subjects(text: str) -> tuple[MarkedSubject, ...]:
    """The subjects of a box with a line for each, "ohwx dog = dog"; empty lines are skipped.

    Raises:
        ValueError: a line without a superclass, or two with the same words.
    """
    found: list[MarkedSubject] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        words, sign, superclass = (" ".join(part.split()) for part in line.partition("="))
        if not (words and sign and superclass):
            raise ValueError(f"subjects: got {_shown(line)}; {HOW}")
        if words.lower() in (one.words.lower() for one in found):
            raise ValueError(f"subjects: got {words!r} in two lines; give each subject words of its own")
        found.append(MarkedSubject(words, superclass))
    return tuple(found)


def mark_prompt(prompt: str, subjects: Sequence[MarkedSubject]) -> MarkedPrompt:
    """Both branches' prompts.

    Raises:
        ValueError: no subjects; one that the prompt lacks; a superclass that would stand there twice; syntax that
            ComfyUI does not read (``<lora:...>``, ``embedding:``), or a bracketed token that is no subject.
    """
    _require_readable(prompt, subjects)
    motion, at = "", 0
    places: tuple[list[Place], list[Place]] = ([], [])
    for match in _pattern(subjects).finditer(prompt):
        subject = subjects[_order(subjects)[(match.lastindex or 1) - 1]]
        _require_no_echo(prompt, match, subject)
        motion += prompt[at : match.start()]
        superclass, at = escaped(subject.superclass), match.end()
        places[0].append(Place(subject.words, match.start(), at))
        places[1].append(Place(subject.words, len(motion), len(motion) + len(superclass)))
        motion += superclass
    missing = [one for one in subjects if one.words not in {place.word for place in places[0]}]
    if missing:
        raise ValueError(_lacking(prompt, missing))
    return MarkedPrompt(prompt, motion + prompt[at:], tuple(places[0]), tuple(places[1]))


def tokenized(
    prompt: str, places: Sequence[Place], encode: Encode, vectors: Mapping[str, torch.Tensor] | None = None
) -> list[Token]:
    """The prompt's tokens as ComfyUI makes them: each segment of one weight for itself.

    Args:
        prompt: either branch's.
        places: its subjects' characters.
        encode: the tokenizer.
        vectors: [k, D] for the words that have learned ones; those stand in their words' place.
    """
    learned = [place for place in places if place.word in (vectors or {})]
    tokens: list[Token] = []
    for segment in segments(prompt):
        at = 0
        for place in learned:
            inside = [i for i, where in enumerate(segment.places) if place.start <= where < place.end]
            if inside:
                tokens += _pieces(segment, at, inside[0], encode)
                rows = (vectors or {})[place.word]
                tokens += [Token(row, segment.weight, place.start, place.end) for row in rows]
                at = inside[-1] + 1
        tokens += _pieces(segment, at, len(segment.text), encode)
    return tokens


def columns(tokens: Sequence[Token], places: Sequence[Place], limit: int) -> list[Place]:
    """The token columns of each place, in order.

    Args:
        tokens: of ``tokenized``.
        places: characters.
        limit: tokens that the model reads, the end token among them.

    Raises:
        ValueError: a subject stands beyond the limit, or has no token.
    """
    found = []
    for place in places:
        own = [i for i, token in enumerate(tokens) if _touches(token, place)]
        if not own:
            raise ValueError(f"prompt: {place.word!r} has no token of its own there; name the subject in other words")
        if own[-1] >= limit - 1:
            raise ValueError(
                f"prompt: {place.word!r} ends at token {own[-1] + 1}, at most {limit - 1} fit; shorten the prompt, or "
                "name the subject earlier"
            )
        found.append(Place(place.word, own[0], own[-1] + 1))
    return found


def _pieces(segment: Segment, start: int, end: int, encode: Encode) -> list[Token]:
    """The tokens of a part of a segment, with the prompt's characters they stand for."""
    text, places = segment.text[start:end], segment.places[start:end]
    tokens = []
    for piece in encode(text) if text else ():
        first = places[min(piece.start, len(places) - 1)]
        last = places[piece.end - 1] + 1 if piece.end > piece.start else first
        tokens.append(Token(piece.id, segment.weight, first, last))
    return tokens


def _touches(token: Token, place: Place) -> bool:
    if token.start == token.end:  # such as a word's beginning, or all bytes but the last of a rare character
        return place.start <= token.start < place.end
    return token.start < place.end and token.end > place.start


def _order(subjects: Sequence[MarkedSubject]) -> list[int]:
    """The longest words first: "ohwx dog" is found before "dog"."""
    return sorted(range(len(subjects)), key=lambda n: -len(subjects[n].words))


def _pattern(subjects: Sequence[MarkedSubject], whole: bool = True) -> re.Pattern[str]:
    """Finds subjects, a group for each, in ``_order``."""
    return re.compile("|".join(f"({_words(subjects[n].words, whole)})" for n in _order(subjects)), re.IGNORECASE)


def _words(words: str, whole: bool) -> str:
    before = rf"(?<!{_LETTER})" if whole and re.match(_LETTER, words[0]) else ""
    after = rf"(?!{_LETTER})" if whole and re.match(_LETTER, words[-1]) else ""
    return before + r"\s+".join(re.escape(escaped(word)) for word in words.split()) + after


def _require_readable(prompt: str, subjects: Sequence[MarkedSubject]) -> None:
    if not subjects:
        raise ValueError(f"subjects: got none; {HOW}")
    lora = _LORA.search(prompt)
    if lora:
        raise ValueError(
            f"prompt: got {lora.group()}, and ComfyUI loads no LoRA from a prompt; load {lora.group(1)!r} with "
            "'LoraLoaderModelOnly' in front of 'SCS Guider', and take it out of the prompt"
        )
    embedding = _EMBEDDING.search(prompt)
    if embedding:
        raise ValueError(
            f"prompt: got {embedding.group()!r}, which Wan's text encoder does not read in ComfyUI; choose the LoRA "
            "file with its vectors as 'learned_tokens', and name its token in subjects"
        )
    known = {one.words.lower() for one in subjects}
    for bracketed in _BRACKETED.findall(prompt):
        if bracketed.lower() not in known:
            allowed = ", ".join(one.words for one in subjects)
            raise ValueError(f"prompt: {bracketed} is no subject; there are {allowed}. Give it a line: {HOW}")


def _require_no_echo(prompt: str, match: re.Match[str], subject: MarkedSubject) -> None:
    echo = re.compile(rf"\s+{_words(subject.superclass, True)}", re.IGNORECASE).match(prompt, match.end())
    if echo:
        both = f"{match.group()}{echo.group()}"
        raise ValueError(
            f"subjects: {both!r} in the prompt would become '{subject.superclass} {subject.superclass}'; take both "
            f"words as the subject's: {both} = {subject.superclass}"
        )


def _lacking(prompt: str, missing: Sequence[MarkedSubject]) -> str:
    names = ", ".join(repr(one.words) for one in missing)
    inside = _pattern(missing, whole=False).search(prompt)
    why = f" ({inside.group()!r} is only a part of a word or of another subject there)" if inside else ""
    return (
        f"subjects: the prompt lacks {names}{why}; write each subject's words in a row, emphasis around all of them, "
        f"or take its line out. The prompt is {_shown(prompt)}"
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
