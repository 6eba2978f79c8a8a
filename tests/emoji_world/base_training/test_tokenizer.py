"""The tokenizer knows the world's words, and nothing that is held out."""

from __future__ import annotations

import pytest

from emoji_world.base_training.tokenizer import apply_merges, build_tokenizer, merges_for
from emoji_world.world.small_dataset import vocabulary
from emoji_world.world.small_motions import HELD_OUT_PAIR, HELD_OUT_SINGLE


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return build_tokenizer(vocabulary(), tmp_path_factory.mktemp("tokenizer"))


def test_each_word_of_the_world_is_one_token(tokenizer):
    words = vocabulary()
    assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in words)
    assert len({tokenizer(word, add_special_tokens=False).input_ids[0] for word in words}) == len(words)


def test_held_out_verbs_are_unknown_words(tokenizer):
    verbs = {phrase.split()[0] for phrase in (*HELD_OUT_PAIR, *HELD_OUT_SINGLE)} - {"jumping"}
    assert verbs.isdisjoint(vocabulary())
    assert all(len(tokenizer(verb, add_special_tokens=False).input_ids) > 1 for verb in verbs)


def test_any_text_becomes_tokens_and_comes_back(tokenizer):
    text = "the quick brown fox, 42 <toy>s!"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


def test_a_later_word_never_breaks_an_earlier_one():
    words = ["grass", "raccoon", "ass", "rag", "grasses"]
    merges = merges_for(words)
    assert all(len(apply_merges(word, merges)) == 1 for word in words)
