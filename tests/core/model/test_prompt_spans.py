"""Both branches' prompts from one, and the columns of each subject in a real SentencePiece tokenizer's tokens."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from tests.tiny_sentencepiece import trained_model
from videomage_core.model.prompt_spans import (
    MarkedPrompt,
    MarkedSubject,
    Token,
    columns,
    mark_prompt,
    read_subjects,
    tokenized,
)
from videomage_core.model.sentencepieces import encoder_of

sentencepiece = pytest.importorskip("sentencepiece")
DOG, CAT = MarkedSubject("ohwx dog", "dog"), MarkedSubject("sks", "stuffed animal")


@pytest.fixture(scope="module")
def processor() -> Any:
    return sentencepiece.SentencePieceProcessor(model_proto=trained_model())


@pytest.fixture(scope="module")
def encode(processor: Any) -> Any:
    return encoder_of(processor)


def said(tokens: list[Token], place: Any, processor: Any) -> str:
    """What the columns of a place say."""
    ids = [token.value for token in tokens[place.start : place.end]]
    return str(processor.decode(ids))


def test_a_box_of_subjects_is_read_line_by_line() -> None:
    assert read_subjects("\n ohwx  dog = dog \n\nsks=stuffed  animal\n<toy> = toy") == (
        DOG, CAT, MarkedSubject("<toy>", "toy"),
    )  # fmt: skip


@pytest.mark.parametrize("line", ["ohwx dog", "ohwx dog =", "= dog", "="])
def test_a_line_without_a_superclass_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"^subjects: got '.*'; write a line for each subject.*ohwx dog = dog$"):
        read_subjects(f"sks = cat\n{line}")


def test_the_same_words_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="'OHWX dog' in two lines"):
        read_subjects("ohwx dog = dog\nOHWX dog = cat")


def test_superclasses_stand_in_the_subjects_places() -> None:
    marked = mark_prompt("An Ohwx  Dog is riding a sks, near a dog", [DOG, CAT])
    assert marked.motion == "An dog is riding a stuffed animal, near a dog"
    for text, places, words in (
        (marked.subject, marked.subject_places, ["Ohwx  Dog", "sks"]),
        (marked.motion, marked.motion_places, ["dog", "stuffed animal"]),
    ):
        assert [text[place.start : place.end] for place in places] == words
        assert [place.word for place in places] == ["ohwx dog", "sks"]


def test_occurrences_keep_their_order_and_the_longest_words_win() -> None:
    plain = MarkedSubject("dog", "animal")
    marked = mark_prompt("a dog chases an ohwx dog and a dog", [plain, DOG])
    assert marked.motion == "a animal chases an dog and a animal"
    assert [place.word for place in marked.motion_places] == ["dog", "ohwx dog", "dog"]


def test_only_whole_words_are_found_but_beside_scripts_without_blanks() -> None:
    with pytest.raises(ValueError, match=r"lacks 'sks' \('sks' is only a part of a word"):
        mark_prompt("a sksmen", [CAT])
    marked = mark_prompt("一只ohwx狗在骑sks", [MarkedSubject("ohwx狗", "狗"), MarkedSubject("sks", "猫")])
    assert marked.motion == "一只狗在骑猫"


def test_emphasis_and_escapes_stay() -> None:
    one = MarkedSubject("sks (old)", "toy (small)")
    marked = mark_prompt(r"a (sks \(old\):1.3) on \(real\) grass", [one])
    assert marked.motion == r"a (toy \(small\):1.3) on \(real\) grass"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a cat", "subjects: the prompt lacks 'ohwx dog'; write each subject's words in a row"),
        ("a (ohwx) dog", "lacks 'ohwx dog'"),
        ("an ohwx dog dog", "'ohwx dog dog' in the prompt would become 'dog dog'; .*: ohwx dog dog = dog$"),
        ("an ohwx dog <lora:my_dog:0.8>", "got <lora:my_dog:0.8>, and ComfyUI loads no LoRA from a prompt; .*'my_dog'"),
        ("an ohwx dog embedding:toy", "'embedding:toy', which Wan's text encoder does not read"),
        ("an ohwx dog and <toy>", "<toy> is no subject; there are ohwx dog"),
    ],
)
def test_what_cannot_be_meant_is_refused(prompt: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mark_prompt(prompt, [DOG])


def test_no_subjects_are_refused() -> None:
    with pytest.raises(ValueError, match="subjects: got none"):
        mark_prompt("a dog", [])


PROMPTS = [
    "an ohwx dog is riding a sks on the beach",
    "an (ohwx dog:1.4) is ((riding) a sks)",
    r"ohwx dog \(young\), sks; café",
    "两只 ohwx dog 和 sks",
    "sks\nohwx   dog",
    "🦊 sks chases ohwx dog and ohwx dog",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_columns_say_what_the_characters_say(encode: Any, processor: Any, prompt: str) -> None:
    marked: MarkedPrompt = mark_prompt(prompt, [DOG, CAT])
    for text, places, words in (
        (marked.subject, marked.subject_places, {"ohwx dog": "ohwx dog", "sks": "sks"}),
        (marked.motion, marked.motion_places, {"ohwx dog": "dog", "sks": "stuffed animal"}),
    ):
        tokens = tokenized(text, places, encode)
        found = columns(tokens, places, 512)
        assert [place.word for place in found] == [place.word for place in places]
        for place in found:
            assert said(tokens, place, processor) == words[place.word]
        assert all(a.end <= b.start for a, b in pairwise(found))


def test_all_bytes_of_a_rare_character_are_the_subjects(encode: Any) -> None:
    marked = mark_prompt("a 🦊 runs", [MarkedSubject("🦊", "fox")])
    tokens = tokenized(marked.subject, marked.subject_places, encode)
    (place,) = columns(tokens, marked.subject_places, 512)
    assert place.end - place.start >= 4


def test_weights_are_the_segments(encode: Any) -> None:
    marked = mark_prompt("a (sks:1.5) runs", [CAT])
    tokens = tokenized(marked.motion, marked.motion_places, encode)
    (place,) = columns(tokens, marked.motion_places, 512)
    assert {token.weight for token in tokens[place.start : place.end]} == {1.5}
    assert {token.weight for token in tokens[: place.start] + tokens[place.end :]} == {1.0}


def test_learned_vectors_stand_in_their_words_place(encode: Any) -> None:
    toy = MarkedSubject("<toy>", "dog")
    rows = torch.randn(3, 8)
    marked = mark_prompt("a (<TOY>:1.2) rides a sks", [toy, CAT])
    tokens = tokenized(marked.subject, marked.subject_places, encode, {"<toy>": rows})
    first, second = columns(tokens, marked.subject_places, 512)
    assert (first.word, first.end - first.start) == ("<toy>", 3)
    assert all(torch.equal(token.value, row) for token, row in zip(tokens[first.start : first.end], rows, strict=True))
    assert {token.weight for token in tokens[first.start : first.end]} == {1.2}
    assert not any(torch.is_tensor(token.value) for token in tokens[second.start : second.end])


def test_a_subject_beyond_the_limit_is_refused(encode: Any) -> None:
    marked = mark_prompt("a cat and a sks", [CAT])
    tokens = tokenized(marked.subject, marked.subject_places, encode)
    columns(tokens, marked.subject_places, len(tokens) + 1)  # the end token is the last that fits
    with pytest.raises(ValueError, match=rf"'sks' ends at token {len(tokens)}, at most {len(tokens) - 1} fit; shorten"):
        columns(tokens, marked.subject_places, len(tokens))


def test_words_without_a_token_are_refused(encode: Any) -> None:
    marked = mark_prompt("a (cat:7)", [MarkedSubject("7", "dog")])
    tokens = tokenized(marked.subject, marked.subject_places, encode)
    with pytest.raises(ValueError, match="'7' has no token of its own"):
        columns(tokens, marked.subject_places, 512)
