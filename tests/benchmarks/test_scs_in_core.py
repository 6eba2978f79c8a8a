"""The bare network that SCS Guider's cost is compared with; a core is needed for the figures alone."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.scs_in_core import RANK, bare_network, random_lora


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"self_attn": nn.ModuleDict({"q": nn.Linear(6, 5), "norm": nn.Linear(6, 6)})})
            for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(block["self_attn"]["q"](x) for block in self.blocks)  # type: ignore[no-any-return]


def test_a_bare_copy_is_the_network_with_the_lora_in_its_weights() -> None:
    torch.manual_seed(0)
    network, x = Network(), torch.randn(3, 6)
    pairs, before = random_lora(network, 1), network(x)
    assert sorted(pairs) == ["blocks.0.self_attn.q", "blocks.1.self_attn.q"]
    assert all(down.shape == (RANK, 6) and up.shape == (5, RANK) for down, up in pairs.values())
    bare = bare_network(network, pairs)
    change = sum((up @ down for down, up in pairs.values()), torch.zeros(5, 6))
    torch.testing.assert_close(bare(x), before + x @ change.T)
    assert torch.equal(network(x), before) and not any(weight.requires_grad for weight in bare.parameters())
