"""Special tokens: places by substitution, vectors that reach the encoder, nothing left behind."""

from __future__ import annotations

import pytest
import torch

from videomage_core.model.text import SpecialToken, prompt_warnings, superclass_prompt


def token(name: str, base, words: str = "dog", count: int = 1) -> SpecialToken:
    return SpecialToken(name, base.prompts.initial_vectors(words, count), words)


def test_a_token_started_from_a_word_encodes_as_that_word(emoji_base):
    toy = token("<toy>", emoji_base, "panda")
    with_token = emoji_base.encode_prompt(["a <toy> is jumping on grass"], [toy])
    with_word = emoji_base.encode_prompt(["a panda is jumping on grass"])
    assert torch.equal(with_token, with_word)


def test_superclass_prompt_encodes_and_spans_as_the_plain_words(emoji_base):
    toy, dog = token("<toy>", emoji_base, "under water", 1), token("<dog_1>", emoji_base, "dog", 3)
    prompt = "A <toy> is chasing a <dog_1>."
    assert superclass_prompt(prompt, [toy, dog]) == "A under water is chasing a dog."
    plain = emoji_base.encode_prompt(["A under water is chasing a dog."])
    assert torch.equal(emoji_base.encode_prompt([prompt], [toy, dog], as_superclass=True), plain)
    spans = emoji_base.token_spans(prompt, [toy, dog], as_superclass=True)
    assert [(s.word, s.positions) for s in spans] == [("<toy>", (2, 3)), ("<dog_1>", (7,))]
    spans = emoji_base.token_spans(prompt, [toy, dog])
    assert [(s.word, s.positions) for s in spans] == [("<toy>", (2,)), ("<dog_1>", (6, 7, 8))]


def test_a_word_that_comes_twice_has_two_spans(emoji_base):
    toy = token("<toy>", emoji_base, count=2)
    spans = emoji_base.token_spans("a <toy> is chasing a <TOY>s", [toy])
    assert [s.positions for s in spans] == [(2, 3), (7, 8)]
    assert [s.positions for s in emoji_base.word_spans("a dog is chasing a dog", "dog")] == [(2,), (6,)]
    assert [s.positions for s in emoji_base.word_spans("a dog is on top of a cat", "on top of")] == [(4, 5, 6)]


def test_names_with_a_common_beginning_do_not_match_each_other(emoji_base):
    one, ten = token("<toy_1>", emoji_base, "dog"), token("<toy_10>", emoji_base, "cat")
    assert superclass_prompt("<toy_10> and <toy_1>", [one, ten]) == "cat and dog"


def test_gradients_reach_the_vectors_and_nothing_else(emoji_base):
    vectors = emoji_base.prompts.initial_vectors("dog", 2).requires_grad_()
    toy = SpecialToken("<toy>", vectors, "dog")
    emoji_base.encode_prompt(["a <toy> on grass", "grass"], [toy])[0].square().sum().backward()
    assert vectors.grad is not None and vectors.grad.abs().sum() > 0
    assert all(p.grad is None for p in emoji_base.prompts.text_encoder.parameters())


def test_a_prompt_without_the_token_does_not_depend_on_it(emoji_base):
    toy = token("<toy>", emoji_base)
    both = emoji_base.encode_prompt(["a <toy>", "a cat on grass"], [toy])
    assert torch.allclose(both[1], emoji_base.encode_prompt(["a cat on grass"])[0], atol=1e-5)


def test_an_unknown_token_names_the_known_ones(emoji_base):
    with pytest.raises(ValueError, match=r"<tyo> is not known; the loaded tokens are <toy>"):
        emoji_base.encode_prompt(["a <tyo>"], [token("<toy>", emoji_base)])
    with pytest.raises(ValueError, match=r"<toy> is not known; no LoRA with a token is loaded"):
        emoji_base.encode_prompt(["a <toy>"])


def test_two_tokens_with_one_name_are_refused(emoji_base):
    with pytest.raises(ValueError, match="two share a name"):
        emoji_base.encode_prompt(["a <toy>"], [token("<toy>", emoji_base), token("<TOY>", emoji_base, "cat")])


def test_a_prompt_past_77_tokens_is_refused(emoji_base):
    with pytest.raises(ValueError, match=r"prompt: got 76 tokens, at most 75 fit"):
        emoji_base.encode_prompt(["dog " * 76])
    assert emoji_base.encode_prompt(["dog " * 75]).shape == (1, 77, 96)


def test_plain_words_are_found_beside_special_tokens(emoji_base):
    toy = token("<toy>", emoji_base, count=3)
    assert emoji_base.word_spans("a <toy> and a cat", "cat", [toy])[0].positions == (7,)


def test_a_token_of_another_bases_width_is_refused(emoji_base):
    with pytest.raises(ValueError, match="vectors have width 1024, those of this base have 96"):
        emoji_base.encode_prompt(["a <toy>"], [SpecialToken("<toy>", torch.zeros(1, 1024), "dog")])


def test_a_word_that_is_not_there_is_refused(emoji_base):
    with pytest.raises(ValueError, match="'cat', which does not stand in the prompt"):
        emoji_base.word_spans("a dog", "cat")


@pytest.mark.parametrize(
    ("name", "shape", "superclass", "message"),
    [
        ("toy", (1, 4), "toy", "token: got 'toy'"),
        ("<my toy>", (1, 4), "toy", "token: got '<my toy>'"),
        ("<toy>", (0, 4), "toy", "vectors of <toy>"),
        ("<toy>", (4,), "toy", "vectors of <toy>"),
        ("<toy>", (1, 4), " ", "superclass of <toy>"),
    ],
)
def test_a_malformed_token_is_refused(name, shape, superclass, message):
    with pytest.raises(ValueError, match=message):
        SpecialToken(name, torch.zeros(shape), superclass)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a <toy> is running on <toy>s", []),
        ("A <TOY> and a dog (a good one)", []),
        (
            "a toy is running",
            ["it names no token of its LoRAs; without <toy> a subject may not show: write e.g. 'A <toy>'"],
        ),
        (
            "a <toy> <lora:style:0.8>",
            ["'<lora:style:0.8>' is read as plain words, not as a web UI does; load LoRAs by"],
        ),
        (
            "a (red:1.2) <toy>",
            ["'(red:1.2)' is read as plain words, not as a web UI does; brackets give words no weight"],
        ),
        ("a ((red)) <toy>", ["'((red))' is read as plain words"]),
        (
            "a {red|blue} <toy> BREAK grass",
            ["'{red|blue}' is read as plain words, not as a web UI does; it has no effect"],
        ),
    ],
)
def test_what_a_prompt_probably_means_otherwise_is_warned_of(prompt, said):
    warnings = prompt_warnings(prompt, [SpecialToken("<toy>", torch.zeros(1, 4), "toy")])
    assert len(warnings) == len(said)
    for warning, part in zip(warnings, said, strict=True):
        assert part in warning


def test_one_of_two_tokens_left_out_is_warned_of():
    both = [SpecialToken(name, torch.zeros(1, 4), "toy") for name in ("<a>", "<b>")]
    (warning,) = prompt_warnings("an <a> is running", both)
    assert "not all tokens of its LoRAs; without <b> a subject" in warning
