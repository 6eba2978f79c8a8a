"""A LoRA's weights by themselves: averages and compressions."""

from __future__ import annotations

import pytest
import torch

from tests.core.model.random_lora import random_lora
from videomage_core.model.lora_weights import LoraWeights, average, compress


def doubled(weights: LoraWeights) -> LoraWeights:
    return LoraWeights({m: (a.double(), b.double()) for m, (a, b) in weights.layers.items()}, weights.scale)


def test_the_average_adds_the_mean_of_what_they_add(emoji_base):
    """Of the products, and not the product of the means; with other ranks and scales, and a layer that one lacks."""
    one = doubled(random_lora(emoji_base, "spatial", 1, rank=3, scale=2.0))
    two = doubled(random_lora(emoji_base, "spatial", 2, rank=1, scale=0.5))
    lacking, *rest = two.layers
    two = LoraWeights({m: two.layers[m] for m in rest}, two.scale)
    got = average([one, two])
    assert set(got.layers) == set(one.layers) and got.rank == 4
    torch.testing.assert_close(got.delta(lacking), one.delta(lacking) / 2, rtol=1e-12, atol=1e-15)
    for module in rest:
        torch.testing.assert_close(got.delta(module), (one.delta(module) + two.delta(module)) / 2)
    back = average([two, one])
    assert all(torch.allclose(back.delta(m), got.delta(m)) for m in got.layers)


def test_the_average_of_one_is_that_one_and_of_none_an_error(emoji_base):
    one = random_lora(emoji_base, "spatial", 1)
    got = average([one])
    assert got.rank == one.rank and all(torch.allclose(got.delta(m), one.delta(m)) for m in one.layers)
    with pytest.raises(ValueError, match="loras: got none, give at least one"):
        average([])


def relative_error(wanted: LoraWeights, got: LoraWeights) -> float:
    lost = sum(float((wanted.delta(m) - got.delta(m)).double().square().sum()) for m in wanted.layers)
    return (lost / sum(float(wanted.delta(m).double().square().sum()) for m in wanted.layers)) ** 0.5


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_the_error_of_a_compression_is_the_true_one_and_the_least(emoji_base, rank):
    both = average([random_lora(emoji_base, "spatial", n, rank=3) for n in (1, 2)])
    small, error = compress(both, rank)
    assert small.rank == rank and all(f.dtype == torch.float32 for pair in small.layers.values() for f in pair)
    assert error == pytest.approx(relative_error(both, small), rel=1e-4) and 0 < error < 1
    cut = LoraWeights({m: (a[:rank], b[:, :rank]) for m, (a, b) in both.layers.items()}, both.scale)
    assert error < relative_error(both, cut)
    assert rank == 5 or error > compress(both, rank + 1)[1]


@pytest.mark.parametrize("rank", [6, 300])
def test_a_compression_to_full_rank_loses_nothing(emoji_base, rank):
    both = average([random_lora(emoji_base, "spatial", n, rank=3) for n in (1, 2)])
    whole, error = compress(both, rank)
    assert error == 0 and whole.rank <= 6
    assert all(torch.allclose(whole.delta(m), both.delta(m), atol=1e-5) for m in both.layers)


def test_two_of_the_same_compress_to_that_one(emoji_base):
    """The average has twice the rank on paper, and no more in truth."""
    one = random_lora(emoji_base, "spatial", 1, rank=3)
    again, error = compress(average([one, one]), 3)
    assert error < 1e-6
    assert all(torch.allclose(again.delta(m), one.delta(m), atol=1e-5) for m in one.layers)


def test_a_lora_of_zeros_compresses_and_a_rank_of_zero_is_refused():
    none = LoraWeights({"x": (torch.zeros(2, 4), torch.zeros(6, 2))})
    small, error = compress(none, 1)
    assert error == 0 and float(small.delta("x").abs().max()) == 0
    with pytest.raises(ValueError, match="rank: got 0, must be at least 1"):
        compress(none, 0)
