"""Attention maps of a core Wan: M_SCA and M_TSA of chosen blocks, and the end of the forward behind the last of them.

Two doors of the core, which all versions since 0.3.64 have: ``patches_replace["dit"][("double_block", i)]`` says which
block runs, and ``optimized_attention_override`` hands over q, k and v, normed and after rotary embedding: of
self-attention first, then of cross-attention (with an image's tokens before the text's, where the model takes one).
Recorded passes use PyTorch's attention, which has a gradient.

Activations are computed again in the backward pass, block by block, so a graph holds one block's input for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import CellType, FunctionType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...videomage_core.model.attention_maps import AttentionMaps, ForwardEnded
from ...videomage_core.model.dit_maps import (
    Span,
    cross_maps,
    head_errors,
    sampled_rows,
    temporal_heads,
    temporal_maps,
)

OVERRIDE = "optimized_attention_override"
DROPPED = ("wrappers", "callbacks", "patches_replace", OVERRIDE)
OUTER = ("model_function_wrapper", "sampler_calc_cond_batch_function", "context_handler")


@dataclass
class HeadSplit:
    """Which heads are temporal, by block: errors of the test, summed over the noise levels seen so far."""

    errors: dict[int, torch.Tensor] = field(default_factory=dict)  # [B, 2, H]
    chosen: dict[int, torch.Tensor] = field(default_factory=dict)  # bool [B, H], in this step

    def next_step(self) -> None:
        """Forget the choice, so that the next recorded pass tests the heads again and adds what it finds."""
        self.chosen.clear()

    def of(self, block: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, frames: int) -> torch.Tensor:
        """The temporal heads of a block in each video, bool [B, H], alike in both branches; all where it has none."""
        if block not in self.chosen:
            found = head_errors(q, k, v, frames, sampled_rows(q.shape[2]))
            self.errors[block] = self.errors.get(block, 0) + found
            self.chosen[block] = temporal_heads(self.errors[block])
        return self.chosen[block]

    def compared(self, recorded: Sequence[int]) -> dict[int, torch.Tensor]:
        """Blocks whose M_TSA is compared, each with the videos in which it is, bool [B].

        In each video those that have temporal heads; all, where none has.
        """
        has = {block: (self.errors[block][:, 1] < self.errors[block][:, 0]).any(-1) for block in recorded}
        none = ~torch.stack(list(has.values())).any(0)
        return {block: videos | none for block, videos in has.items() if bool((videos | none).any())}


@dataclass
class Recorder:
    """One recorded forward.

    Attributes:
        blocks: whose maps are recorded, ascending.
        spans: one token span for each of K subjects.
        grid: (f, h, w) of the model's tokens.
        heads: which heads count for M_TSA.
        real: tokens that are not padding, to renormalise M_SCA over them; None: as the layer has it.
        acting: a context in which the recorded branch acts; what is recomputed enters it again.
        recompute: keep block inputs instead of activations.
        maps: what was recorded, by block: cross [B, K, f, h, w], temporal [B, h*w, f, f].
    """

    blocks: Sequence[int]
    spans: Sequence[Span]
    grid: tuple[int, int, int]
    heads: HeadSplit
    real: int | None = None
    acting: Callable[[], AbstractContextManager[None]] = nullcontext
    recompute: bool = True
    maps: AttentionMaps = field(default_factory=AttentionMaps)

    @property
    def compared(self) -> AttentionMaps:
        """The maps, with M_TSA of the blocks that have temporal heads alone (as ``WanBackbone``)."""
        temporal = {}
        for block, videos in self.heads.compared(self.blocks).items():
            name = f"blocks.{block}"
            temporal[name] = self.maps.temporal[name] * videos.view(-1, 1, 1, 1)
        return AttentionMaps(self.maps.cross, temporal)

    def options(self, model_options: dict[str, Any], model: nn.Module) -> dict[str, Any]:
        """Model options with which a forward is recorded; whatever others have wrapped around the model is left out."""
        options = {name: value for name, value in model_options.items() if name not in OUTER}
        remaining = {k: v for k, v in options.get("transformer_options", {}).items() if k not in DROPPED}
        replaced = {("double_block", i): self._block(i, model.blocks[i]) for i in range(self.blocks[-1] + 1)}  # type: ignore[index]
        options["transformer_options"] = {**remaining, "patches_replace": {"dit": replaced}}
        return options

    def _block(self, index: int, block: Any) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]:
        text_call = 2 if hasattr(block.cross_attn, "k_img") else 1  # an image's tokens come before the text's
        last = index == self.blocks[-1]

        def run(args: dict[str, Any], original: dict[str, Any]) -> dict[str, Any]:
            block_now = bound_now(original["original_block"])

            def forward(x: torch.Tensor) -> torch.Tensor:
                options = {**args["transformer_options"], OVERRIDE: _Attention(self, index, text_call)}
                with self.acting():
                    given = {**args, "img": x, "transformer_options": options}
                    result: torch.Tensor = block_now(given)["img"]
                return result

            if self.recompute and not last and torch.is_grad_enabled():
                return {"img": checkpoint(forward, args["img"], use_reentrant=False, preserve_rng_state=False)}
            return {"img": forward(args["img"])}

        return run

    def take(self, index: int, cross: bool, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
        """One attention of a recorded block; q, k, v [B, H, N or T, d].  What is recomputed comes again, the same."""
        kind, name = (self.maps.cross if cross else self.maps.temporal), f"blocks.{index}"
        if cross:
            maps = cross_maps(q, k, [[span] for span in self.spans], self.real).unflatten(-1, self.grid)
        else:
            frames = self.grid[0]
            maps = temporal_maps(q, k, frames, self.heads.of(index, q, k, v, frames))
        kind.setdefault(name, maps)


def bound_now(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its outer variables as they are now.

    The core's closes over a loop's: called again in the backward pass, it would run the last block instead of its own.
    """
    if not isinstance(function, FunctionType) or function.__closure__ is None:
        return function
    cells = tuple(CellType(cell.cell_contents) for cell in function.__closure__)
    return FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)


class _Attention:
    """Attention of one run of a block: PyTorch's, and the maps beside it."""

    def __init__(self, recorder: Recorder, index: int, text_call: int) -> None:
        self.recorder, self.index, self.text_call, self.calls = recorder, index, text_call, 0

    def __call__(
        self, _: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        import comfy.ldm.modules.attention as attention

        call, self.calls = self.calls, self.calls + 1
        if self.index in self.recorder.blocks and call in (0, self.text_call):
            split = [of.unflatten(-1, (heads, -1)).transpose(1, 2) for of in (q, k, v)]  # [B,N,H*d] -> [B,H,N,d]
            if split[0].shape[2] != torch.Size(self.recorder.grid).numel():
                raise ValueError(
                    f"latents: the model sees {split[0].shape[2]} places, a grid of {self.recorder.grid} was expected; "
                    "reference frames and the like are not carried by SCS Guider: set tau to 0, or take them away"
                )
            self.recorder.take(self.index, call == self.text_call, *split)
            if call == self.text_call and self.index == self.recorder.blocks[-1]:
                raise ForwardEnded
        result: torch.Tensor = attention.attention_pytorch(q, k, v, heads, *args, **kwargs)
        return result


def chosen_blocks(text: str, count: int) -> list[int]:
    """Blocks of a setting: "auto", "all", or numbers and ranges: "3, 5-9".

    auto: from a sixth to a third of the depth (5 to 9 of Wan 1.3B's 30).
    """
    if text.strip() == "auto":
        return list(range(count // 6, max(count // 6 + 1, count // 3)))
    if text.strip() == "all":
        return list(range(count))
    blocks: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(end.isdigit() for end in ends):
            raise _bad_blocks(text, count)
        blocks.update(range(int(ends[0]), int(ends[-1]) + 1))
    if not blocks or max(blocks) >= count:
        raise _bad_blocks(text, count)
    return sorted(blocks)


def _bad_blocks(text: str, count: int) -> ValueError:
    return ValueError(
        f"recorded_blocks: got {text!r}; write auto, all, or blocks of 0 to {count - 1}, with commas and ranges: 3, 5-9"
    )
