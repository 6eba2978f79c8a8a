from pathlib import Path

import pytest
from transformers import AutoTokenizer

from emoji_world.base_training.wan_tokenizer import build_tokenizer
from emoji_world.world.small_dataset import vocabulary

pytest.importorskip("sentencepiece", reason="the recipe's tokenizer is trained with the sentencepiece package")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(vocabulary(), folder)
    return folder


def test_every_word_of_the_world_is_one_token(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for word in vocabulary():
        if word.isalpha():
            assert tokenizer.tokenize(word) == ["▁" + word]
    assert tokenizer.tokenize("A dog, chasing.")[:2] == ["▁a", "▁dog"]


def test_padding_is_0_and_every_text_ends_in_1(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = tokenizer(["", "a dog"], padding="max_length", max_length=6)
    assert rows.input_ids[0] == [1, 0, 0, 0, 0, 0]
    assert rows.input_ids[1][2:] == [1, 0, 0, 0]
    assert rows.attention_mask == [[1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    assert tokenizer.model_max_length == 512


@pytest.mark.parametrize("text", ["a dog is chasing a cat on grass", "a bebukit é日本 <toy>", "", "naïve 😀"])
def test_any_text_comes_back(folder, text):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_both_files_say_the_same(folder):
    import sentencepiece

    tokenizer = AutoTokenizer.from_pretrained(folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    assert pieces.get_piece_size() == len(tokenizer)
    for text in ("a dog is next to a frog.", "A Dog  on\tGRASS, at night", "the voruk bebukit", "Ünder wäter ½"):
        assert tokenizer(text).input_ids == [*pieces.encode(text), 1]


def test_a_new_token_can_be_added(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = len(tokenizer)
    assert tokenizer.add_tokens(["<toy>"]) == 1
    assert before in tokenizer("a <toy> on grass").input_ids
