"""Which self-attention heads of a Wan look along time, and their rows in the layers (Sec. 3.2's two kinds of layers).

A transformer has no temporal layers, but some of its heads look along time and others within a frame (Xi et al. 2025,
Sparse VideoGen; the test is ``dit_maps.head_errors``).  A motion is learned by the rows of q, k and v that make the
temporal heads, a subject by those of the others (Follow-Your-Motion splits heads so too).

Where the papers are silent (ours): the test is made once for a base, on a video that it samples of the empty prompt,
in a few steps; the errors are summed over their noise levels.  A base in which no head is temporal is not split: both
roles have all rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from .backbone import Backbone
from .dit_maps import head_errors, sampled_rows
from .wan_attention import TextContext, WanAttentionProcessor

STEPS = 6  # of the sampled video
SEED = 0


class _Probe(WanAttentionProcessor):
    """Sums what the test says of a layer's heads."""

    def __init__(self, frames: int) -> None:
        self.frames, self.errors = frames, torch.zeros(())

    def observe(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, text: TextContext | None) -> None:
        found = head_errors(query, key, value, self.frames, sampled_rows(query.shape[2]))
        self.errors = self.errors + found.sum(0).cpu()  # [2, H]


@torch.no_grad()
def find_temporal_heads(backbone: Backbone, attentions: Sequence[Any], size: tuple[int, int, int]) -> torch.Tensor:
    """The temporal heads of each block, bool [L, H]; none at all where the base does not split them.

    Args:
        backbone: the base; adapters that act on it act here too.
        attentions: the self-attention of each of its L blocks, diffusers' WanAttention.
        size: frames, height and width in pixels of the video that is sampled.
    """
    shape = backbone.latent_shape(*size)
    probes = [_Probe(shape[1]) for _ in attentions]
    before = [attention.processor for attention in attentions]
    text = backbone.encode_prompt([""])
    levels = backbone.levels(STEPS)
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(SEED)).to(backbone.device)
    try:
        for attention, probe in zip(attentions, probes, strict=True):
            attention.processor = probe
        for level, following in itertools.pairwise(levels):
            x = x + (following.s - level.s).to(x) * backbone.predict(x, level, text)  # Euler's step
    finally:
        for attention, processor in zip(attentions, before, strict=True):
            attention.processor = processor
    errors = torch.stack([probe.errors for probe in probes])  # [L, 2, H]
    return errors[:, 1] < errors[:, 0]


def rows_of(heads: torch.Tensor, width: int) -> tuple[int, ...]:
    """The output rows of q, k or v that make some heads.

    Args:
        heads: bool [H].
        width: of a head.
    """
    return tuple(row for head in heads.nonzero().flatten().tolist() for row in range(head * width, (head + 1) * width))
