"""What BERT lost in transformers 5: given to one object, with the numbers that 4.57's own methods give."""

from __future__ import annotations

import torch
from transformers import BertConfig, BertModel

from videomage_core.segmentation.bert import NAMES, give_back_masks

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


class Bare:
    """A BERT as transformers 5 leaves it."""

    dtype = torch.float32


def test_one_object_has_them_and_its_class_does_not():
    before = [hasattr(BertModel, name) for name in NAMES]
    bert, other = BertModel(BertConfig(**SIZES)), Bare()
    give_back_masks(bert)
    assert all(callable(getattr(bert, name)) for name in NAMES)
    assert [hasattr(BertModel, name) for name in NAMES] == before
    give_back_masks(other)
    assert not any(hasattr(Bare, name) for name in NAMES) and not any(hasattr(Bare(), name) for name in NAMES)


def test_what_is_there_stays():
    bert = Bare()
    bert.get_head_mask = marker = object()
    assert give_back_masks(bert).get_head_mask is marker


def test_masks_hide_what_is_0_and_add_nothing_where_it_is_1():
    bert = give_back_masks(Bare())
    seen = torch.tensor([[1, 1, 0]])
    added = bert.get_extended_attention_mask(seen, seen.shape)
    assert added.shape == (1, 1, 1, 3) and added[0, 0, 0].tolist() == [0, 0, torch.finfo(torch.float32).min]
    each = torch.eye(3).bool()[None]
    assert bert.get_extended_attention_mask(each, (1, 3), "cpu").shape == (1, 1, 3, 3)
    assert torch.equal(bert.invert_attention_mask(each), bert.get_extended_attention_mask(each, (1, 3)))
    assert bert.get_head_mask(None, 2) == [None, None]


def test_they_are_what_transformers_itself_has_where_it_has_them():
    bert, own = BertModel(BertConfig(**SIZES)), give_back_masks(Bare())
    for mask in (torch.tensor([[1, 1, 0]]), torch.eye(4).bool()[None]):
        given = give_back_masks(bert).get_extended_attention_mask(mask, mask.shape[:2])
        assert torch.equal(given, own.get_extended_attention_mask(mask, mask.shape[:2]))
