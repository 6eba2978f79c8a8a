"""The tiny GroundingDINO: its vocabulary, and weights that are the same everywhere."""

from __future__ import annotations

import torch

from emoji_world import tiny_detector
from emoji_world.cast import CONCEPTS


def test_every_concept_is_one_token_and_any_word_is_some(tmp_path):
    from transformers import AutoTokenizer

    tiny_detector.write_vocabulary(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for concept in CONCEPTS:
        assert len(tokenizer(concept)["input_ids"]) == 3, concept
    ids = tokenizer("Dog . unicorn .")["input_ids"]
    assert (ids[0], ids[2], ids[-1]) == (101, 1012, 102) and 100 not in ids
    assert len(ids) > 6


def test_weights_go_by_their_names(tmp_path):
    from safetensors.torch import load_file

    one, two = (load_file(tiny_detector.random_detector(tmp_path / n) / "model.safetensors") for n in "ab")
    assert all(torch.equal(one[name], two[name]) for name in one)
