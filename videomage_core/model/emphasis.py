"""ComfyUI's emphasis in prompts, "(word:1.2)", read as ComfyUI reads it, with the place of every character.

Parentheses weigh what they hold: 1.1 times, or the number after the last colon.  "\\(" and "\\)" are plain
parentheses.  What is left over, an unclosed "(" for one, ComfyUI keeps as text or drops; so does this.  The
node that uses it compares the result with ComfyUI's own tokens, so a change there is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

_ESCAPES = {"\\)": "\0\1", "\\(": "\0\2"}  # as ComfyUI hides them while it looks for parentheses
_HIDDEN = {"\1": ")", "\2": "("}


@dataclass(frozen=True)
class Segment:
    """A part of a prompt of one weight.

    Attributes:
        text: what the tokenizer gets.
        weight: 1 is plain.
        places: for each character of ``text``, where it stands in the prompt.
    """

    text: str
    weight: float
    places: tuple[int, ...]


def segments(prompt: str) -> list[Segment]:
    """The prompt cut where its emphasis changes, in order, without the parentheses and numbers."""
    hidden = prompt
    for escape, code in _ESCAPES.items():
        hidden = hidden.replace(escape, code)  # two characters by two: every place stays
    return [_plain(hidden, *part) for part in _weighted(hidden, 0, len(hidden), 1.0)]


def escaped(text: str) -> str:
    """Plain text as a prompt must write it, so that its parentheses are no emphasis."""
    return text.replace("(", "\\(").replace(")", "\\)")


def _plain(hidden: str, start: int, end: int, weight: float) -> Segment:
    text, places, at = [], [], start
    while at < end:
        bracket = _HIDDEN.get(hidden[at + 1 : at + 2]) if hidden[at] == "\0" and at + 1 < end else None
        text.append(bracket or hidden[at])
        places.append(at)
        at += 2 if bracket else 1
    return Segment("".join(text), weight, tuple(places))


def _weighted(text: str, start: int, end: int, weight: float) -> Iterator[tuple[int, int, float]]:
    """(start, end, weight) of each part without parentheses around it, those within others too."""
    for left, right in _outermost(text, start, end):
        if right - left < 2 or text[left] != "(" or text[right - 1] != ")":
            yield left, right, weight
            continue
        inner, last, own = left + 1, right - 1, weight * 1.1
        colon = text.rfind(":", inner, last)
        if colon > inner:
            with suppress(ValueError):  # for a colon of the text itself
                own, last = float(text[colon + 1 : last]), colon
        yield from _weighted(text, inner, last, own)


def _outermost(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts in and between outermost parentheses."""
    depth, begun = 0, start
    for at in range(start, end):
        if text[at] == "(":
            if depth == 0 and begun < at:
                yield begun, at
                begun = at
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if depth == 0:
                yield begun, at + 1
                begun = at + 1
    if begun < end:
        yield begun, end
