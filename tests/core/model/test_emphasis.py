"""Emphasis as ComfyUI reads it, each character with its place."""

from __future__ import annotations

import random

import pytest

from videomage_core.model.emphasis import escaped, segments

CASES = [
    ("", []),
    ("a dog", [("a dog", 1.0)]),
    ("a (dog) runs", [("a ", 1.0), ("dog", 1.1), (" runs", 1.0)]),
    ("a (dog:1.5) runs", [("a ", 1.0), ("dog", 1.5), (" runs", 1.0)]),
    ("((a) b)", [("a", 1.1 * 1.1), (" b", 1.1)]),
    ("((a:2) b:0.5)", [("a", 2.0), (" b", 0.5)]),
    ("(12:30 o'clock)", [("12:30 o'clock", 1.1)]),
    ("(:1.2)", [(":1.2", 1.1)]),
    (r"\(a\) (\(b\):2)", [("(a) ", 1.0), ("(b)", 2.0)]),
    ("()", []),
    ("a (b", [("a ", 1.0), ("(b", 1.0)]),
    ("a) (b) c", [("a) (b) c", 1.0)]),
]


@pytest.mark.parametrize(("prompt", "parts"), CASES)
def test_parts_and_weights(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert [(part.text, part.weight) for part in segments(prompt)] == parts


def test_every_character_knows_its_place() -> None:
    draw = random.Random(0)
    for _ in range(500):
        prompt = "".join(draw.choice(["(", ")", "\\(", "\\)", ":", "1.2", "dog", " ", "é"]) for _ in range(12))
        for part in segments(prompt):
            assert len(part.places) == len(part.text) and list(part.places) == sorted(set(part.places))
            for letter, place in zip(part.text, part.places, strict=True):
                assert prompt[place] == letter or prompt[place : place + 2] == f"\\{letter}"


def test_escaped_text_is_plain() -> None:
    assert [(part.text, part.weight) for part in segments(escaped("toy (old) ((x:2))"))] == [("toy (old) ((x:2))", 1.0)]
