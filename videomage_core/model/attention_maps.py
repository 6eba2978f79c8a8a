"""Record M_SCA and M_TSA, the attention maps that VideoMage's losses are made of.

M_SCA (spatial cross-attention, Eq. 7 and 10): softmax over the text tokens of q k^T / sqrt(d) at
every place of every frame, mean over heads, the columns of a token span summed.
M_TSA (temporal self-attention, Eq. 10): softmax over frames at every place, mean over heads.

Fused attention gives no maps, so the chosen layers compute theirs beside it, in float32: the
layer's own output is untouched and recording changes no prediction.  Layers that are not chosen
pay nothing.  Maps carry gradients.

``temp_attentions.*.attn2`` is temporal *self*-attention: a site's kind comes from where it stands
in the network, never from the name "attn2".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from .text import TokenSpan


@dataclass(frozen=True)
class AttentionLayer:
    """An attention layer whose map can be recorded.

    Attributes:
        name: the attention module's dotted name.
        kind: "cross" (M_SCA) or "temporal" (M_TSA).
    """

    name: str
    kind: Literal["cross", "temporal"]


@dataclass
class AttentionMaps:
    """What was recorded, by site name, float32, values in 0..1.

    Attributes:
        cross: [B, K, F, h, w] for K token spans.
        temporal: [B, h*w, F, F]; each row sums to 1.
    """

    cross: dict[str, torch.Tensor] = field(default_factory=dict)
    temporal: dict[str, torch.Tensor] = field(default_factory=dict)


def select_layers(sites: Sequence[AttentionLayer], layers: str) -> list[AttentionLayer]:
    """The sites that a setting names, in the given order.

    Args:
        sites: all there are.
        layers: "all", or beginnings of layer names, separated by commas: "mid_block, up_blocks.1".

    Raises:
        ValueError: a name with which no site begins.
    """
    wanted = [name.strip() for name in layers.split(",") if name.strip()]
    if wanted == ["all"]:
        return list(sites)
    unknown = [name for name in wanted if not any(_begins(site.name, name) for site in sites)]
    if unknown or not wanted:
        raise ValueError(
            f"layers: got {layers!r}, of which {', '.join(unknown) or 'nothing'} names no layer; write 'all', or "
            f"beginnings of these, separated by commas: {', '.join(site.name for site in sites)}"
        )
    return [site for site in sites if any(_begins(site.name, name) for name in wanted)]


def _begins(name: str, start: str) -> bool:
    return name == start or name.startswith(f"{start}.")


class ForwardEnded(Exception):
    """Leaves the network after the last recorded site; caught by ``Backbone.record_forward``."""


@dataclass
class _VideoShape:
    """The latents' shape in the forward that is being recorded."""

    batch: int = 0
    frames: int = 0
    height: int = 0
    width: int = 0

    def at(self, places: int) -> tuple[int, int]:
        """(h, w) of a layer that sees ``places`` = h * w positions: each level halves, rounding up."""
        height, width = self.height, self.width
        while height * width > places:
            height, width = (height + 1) // 2, (width + 1) // 2
        if height * width != places:
            raise ValueError(
                f"attention over {places} places fits no level of {self.height}x{self.width} latents; "
                "choose a size whose sides are multiples of 8 times the autoencoder's factor"
            )
        return height, width


class _RecordingProcessor:
    """Wraps a layer's attention processor: same output, and the map on the side."""

    def __init__(self, inner: Any, site: AttentionLayer, recording: _Recording) -> None:
        self.inner, self.site, self.recording = inner, site, recording

    def __call__(
        self,
        attention: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        self.recording.take(self.site, attention, hidden_states, context)
        return self.inner(attention, hidden_states, encoder_hidden_states, *args, **kwargs)


@dataclass
class _Recording:
    sites: Sequence[AttentionLayer]
    spans: Sequence[TokenSpan]
    rows: slice
    stop: bool
    constant: frozenset[AttentionLayer]
    maps: AttentionMaps = field(default_factory=AttentionMaps)
    shape: _VideoShape = field(default_factory=_VideoShape)

    def take(self, site: AttentionLayer, attention: Any, hidden: torch.Tensor, context: torch.Tensor) -> None:
        """Compute and keep one site's map; hidden and context as the attention layer got them.

        A layer that is recomputed in the backward pass comes here again, and its first map stays: the second would hold
        on to all that was recomputed.
        """
        constant = site in self.constant
        if constant:
            hidden, context = hidden.detach(), context.detach()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not constant):
            if site.kind == "cross":
                self.maps.cross.setdefault(site.name, self._cross(attention, hidden, context))
            else:
                self.maps.temporal.setdefault(site.name, self._temporal(attention, hidden))
        if self.stop and site == self.sites[-1]:
            raise ForwardEnded

    def _cross(self, attention: Any, hidden: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        frames = self.shape.frames
        hidden = hidden.unflatten(0, (-1, frames))[self.rows]  # [B*F,hw,D] -> [B,F,hw,D]
        context = context.unflatten(0, (-1, frames))[self.rows]  # [B*F,T,D] -> [B,F,T,D]
        weights = attention_weights(attention, hidden, context)  # [B,F,hw,T]
        columns = [weights[..., list(span.positions)].sum(-1) for span in self.spans]  # K of [B,F,hw]
        height, width = self.shape.at(hidden.shape[2])
        return torch.stack(columns, dim=1).unflatten(-1, (height, width))  # [B,K,F,hw] -> [B,K,F,h,w]

    def _temporal(self, attention: Any, hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden.unflatten(0, (self.shape.batch, -1))[self.rows]  # [B*hw,F,D] -> [B,hw,F,D]
        return attention_weights(attention, hidden, hidden)  # [B,hw,F,F]


def attention_weights(attention: Any, hidden: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Softmax(q k^T * scale), mean over heads, in float32.

    Args:
        attention: a diffusers ``Attention`` layer.
        hidden: [..., Q, D] where queries come from.
        context: [..., K, D'] where keys come from.

    Returns:
        [..., Q, K].
    """
    query = attention.to_q(hidden).unflatten(-1, (attention.heads, -1)).transpose(-3, -2)  # [...,Q,HD] -> [...,H,Q,d]
    key = attention.to_k(context).unflatten(-1, (attention.heads, -1)).transpose(-3, -2)  # [...,K,HD] -> [...,H,K,d]
    with torch.autocast(query.device.type, enabled=False):  # half precision would round the losses away
        scores = query.float() @ key.float().transpose(-1, -2) * attention.scale
        return scores.softmax(dim=-1).mean(dim=-3)  # [...,H,Q,K] -> [...,Q,K]


def normalize_maps(maps: torch.Tensor) -> torch.Tensor:
    """Maps [..., h, w] over their largest value in each frame, which counts as a constant: 0..1."""
    largest = maps.detach().amax(dim=(-2, -1), keepdim=True)
    return maps / largest.clamp(min=1e-8)


def mean_map(maps: Sequence[torch.Tensor], height: int, width: int) -> torch.Tensor:
    """Maps of several layers, each [1, K, F, h, w], scaled, enlarged and averaged: [K, F, H, W] on the CPU."""
    enlarged = [F.interpolate(normalize_maps(m[0]).cpu(), size=(height, width), mode="bilinear") for m in maps]
    return torch.stack(enlarged).mean(0)


@contextmanager
def record(
    network: nn.Module,
    sites: Sequence[AttentionLayer],
    spans: Sequence[TokenSpan] = (),
    rows: slice = slice(None),
    stop: bool = False,
    end: nn.Module | None = None,
    constant: Sequence[AttentionLayer] = (),
) -> Iterator[AttentionMaps]:
    """Record the maps of ``sites`` in every forward of ``network`` inside the context.

    Args:
        network: a U-Net that takes latents [B, C, F, H, W] as its first argument.
        sites: the layers, in the order in which they run; an empty list records nothing.
        spans: for cross maps: K token spans, the same for all of the recorded batch.
        rows: the part of the batch to record.
        stop: leave the forward with ``ForwardEnded`` right after the last site.
        end: leave it after this module instead, which holds the last site: what is recomputed on
            the backward pass must be run whole.
        constant: those of the sites whose maps are recorded without a graph.
    """
    if any(site.kind == "cross" for site in sites) and not spans:
        raise ValueError("spans: got none, but a cross-attention map needs the tokens it is for")
    recording = _Recording(sites, spans, rows, stop and end is None, frozenset(constant))
    layers: dict[AttentionLayer, Any] = {site: network.get_submodule(site.name) for site in sites}
    inner = {site: layer.processor for site, layer in layers.items()}

    def note_shape(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        batch, _channels, frames, height, width = arguments[0].shape
        if frames == 1 and any(site.kind == "temporal" for site in sites):
            raise ValueError("frames: got 1, but temporal attention maps need at least 2 frames")
        recording.shape.__init__(batch, frames, height, width)  # type: ignore[misc]
        recording.maps.cross.clear()
        recording.maps.temporal.clear()

    def leave(*_: object) -> None:
        raise ForwardEnded

    hooks = [network.register_forward_pre_hook(note_shape)]
    if stop and end is not None:
        hooks.append(end.register_forward_hook(leave))
    try:
        for site, layer in layers.items():
            layer.processor = _RecordingProcessor(inner[site], site, recording)
        yield recording.maps
    finally:
        for hook in hooks:
            hook.remove()
        for site, layer in layers.items():
            layer.processor = inner[site]
