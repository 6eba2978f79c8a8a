"""BERT in the place of the package's wrapper: transformers' own numbers, and each phrase read for itself."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch
from transformers import BertConfig, BertModel

from videomage_core.segmentation.bert import Bert, added

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
IDS = torch.tensor([[1, 7, 8, 2, 9, 10, 11, 2, 3]])  # two phrases, with the token at the start and the one at the end
PHRASES = torch.block_diag(*(torch.ones(n, n) for n in (1, 3, 4, 1))).bool()[None]
PLACES = torch.tensor([[0, 0, 1, 2, 0, 1, 2, 3, 0]])


def whole(seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    return BertModel(BertConfig(**SIZES)).eval()


def read(bert: Bert, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return bert(ids, PHRASES, torch.zeros_like(ids), PLACES)["last_hidden_state"]


def test_masks_hide_what_is_0_and_add_nothing_where_it_is_1():
    mask = added(torch.tensor([[1, 1, 0]]), torch.float32)
    assert mask.shape == (1, 1, 1, 3) and mask[0, 0, 0].tolist() == [0, 0, torch.finfo(torch.float32).min]
    each = added(torch.eye(3).bool()[None], torch.float32)
    assert each.shape == (1, 1, 3, 3) and each[0, 0].diagonal().tolist() == [0, 0, 0] and float(each.max()) == 0


@pytest.mark.parametrize("mask", [torch.ones(1, 9).long(), torch.tensor([[1] * 6 + [0] * 3])], ids=["all", "some"])
def test_it_gives_what_transformers_own_model_gives(mask):
    bert = whole()
    with torch.no_grad():
        wanted = bert(input_ids=IDS, attention_mask=mask).last_hidden_state
        got = Bert(bert)(IDS, mask)["last_hidden_state"]
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-5)


def test_a_phrase_reads_the_same_whatever_stands_beside_it():
    other = IDS.clone()
    other[0, 4:7] = torch.tensor([20, 21, 22])
    one, two = read(Bert(whole()), IDS), read(Bert(whole()), other)
    assert torch.equal(one[:, :4], two[:, :4]) and float((one - two)[:, 4:8].abs().amax(-1).min()) > 1e-3


def test_nothing_that_transformers_gives_up_is_called():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(Bert(whole()), IDS)


@pytest.mark.skipif(
    importlib.util.find_spec("groundingdino") is None or not hasattr(BertModel, "get_head_mask"),
    reason="the package's own wrapper runs with transformers 4 alone: only there this compares anything",
)
def test_it_gives_what_the_packages_wrapper_gives_where_that_still_runs():
    from groundingdino.models.GroundingDINO.bertwarper import BertModelWarper

    bert = whole()
    usual = BertModelWarper(bert_model=bert)
    assert list(usual.state_dict()) == list(Bert(bert).state_dict())
    with torch.no_grad():
        named = {"input_ids": IDS, "token_type_ids": torch.zeros_like(IDS), "position_ids": PLACES}
        wanted = usual(**named, attention_mask=PHRASES)["last_hidden_state"]
    assert torch.equal(read(Bert(bert), IDS), wanted)
