"""Record M_SCA and M_TSA, the attention maps in VideoMage's losses.

M_SCA (spatial cross-attention, Eq. 7 and 10): softmax over the text tokens of q k^T / sqrt(d) at
every position of every frame, mean over heads, the columns of a token span summed.
M_TSA (temporal self-attention, Eq. 10): softmax over frames at every position, mean over heads.

Fused attention returns no maps, so recorded layers compute them separately in float32: their outputs, and so the
predictions, do not change.  Other layers have no overhead.  Maps carry gradients.

``temp_attentions.*.attn2`` is temporal *self*-attention: a layer's kind follows from its place
in the network, never from the name "attn2".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
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
    """Recorded maps by layer name, float32, values in 0..1.

    Attributes:
        cross: [B, K, F, h, w] for K token spans.
        temporal: [B, h*w, F, F]; each row sums to 1.
    """

    cross: dict[str, torch.Tensor] = field(default_factory=dict)
    temporal: dict[str, torch.Tensor] = field(default_factory=dict)


def select_layers(layers: Sequence[AttentionLayer], selection: str) -> list[AttentionLayer]:
    """The layers that a setting selects, in the given order.

    Args:
        layers: all attention layers.
        selection: "all", or prefixes of layer names separated by commas: "mid_block, up_blocks.1".

    Raises:
        ValueError: a prefix that matches no layer.
    """
    prefixes = [prefix.strip() for prefix in selection.split(",") if prefix.strip()]
    if prefixes == ["all"]:
        return list(layers)
    unknown = [prefix for prefix in prefixes if not any(_begins(layer.name, prefix) for layer in layers)]
    if unknown or not prefixes:
        raise ValueError(
            f"layers: got {selection!r}, of which {', '.join(unknown) or 'nothing'} names no layer; write 'all', or "
            f"beginnings of these, separated by commas: {', '.join(layer.name for layer in layers)}"
        )
    return [layer for layer in layers if any(_begins(layer.name, prefix) for prefix in prefixes)]


def _begins(name: str, start: str) -> bool:
    return name == start or name.startswith(f"{start}.")


class ForwardEnded(Exception):
    """Ends the forward pass after the last recorded layer; caught by ``Backbone.record_forward``."""


@dataclass
class VideoShape:
    """The latents' shape in the forward that is being recorded."""

    batch: int = 0
    frames: int = 0
    height: int = 0
    width: int = 0

    def at(self, places: int) -> tuple[int, int]:
        """(h, w) of a layer with ``places`` = h * w positions: each level halves, rounding up."""
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
    """Wraps a layer's attention processor: the output is the same, and the map is recorded."""

    def __init__(self, inner: Any, layer: AttentionLayer, recording: Recording) -> None:
        self.inner, self.layer, self.recording = inner, layer, recording

    def __call__(
        self,
        attention: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        map_of = _cross_map if self.layer.kind == "cross" else _temporal_map
        self.recording.take(self.layer, partial(map_of, self.recording, attention), hidden_states, context)
        return self.inner(attention, hidden_states, encoder_hidden_states, *args, **kwargs)


@dataclass
class Recording:
    """What one ``record`` takes from the layers, of whatever base.

    Attributes:
        layers: in execution order.
        spans: K token spans of cross-attention maps.
        rows: the part of the batch that is recorded.
        stop: end the forward after the last layer.
        constant: layers whose maps are recorded without gradients.
        maps: what was recorded.
        shape: of the latents in this forward.
    """

    layers: Sequence[AttentionLayer]
    spans: Sequence[TokenSpan]
    rows: slice
    stop: bool
    constant: frozenset[AttentionLayer]
    maps: AttentionMaps = field(default_factory=AttentionMaps)
    shape: VideoShape = field(default_factory=VideoShape)

    def take(self, layer: AttentionLayer, map_of: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> None:
        """Store one layer's map, which ``map_of`` computes of what goes into the layer's attention.

        A layer that is recomputed in the backward pass is recorded again, and its first map is kept: the second would
        keep all recomputed activations alive.
        """
        constant = layer in self.constant
        if constant:
            inputs = tuple(one.detach() for one in inputs)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not constant):
            kind = self.maps.cross if layer.kind == "cross" else self.maps.temporal
            kind.setdefault(layer.name, map_of(*inputs))
        if self.stop and layer == self.layers[-1]:
            raise ForwardEnded


def _cross_map(recording: Recording, attention: Any, hidden: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    frames = recording.shape.frames
    hidden = hidden.unflatten(0, (-1, frames))[recording.rows]  # [B*F,hw,D] -> [B,F,hw,D]
    context = context.unflatten(0, (-1, frames))[recording.rows]  # [B*F,T,D] -> [B,F,T,D]
    weights = attention_weights(attention, hidden, context)  # [B,F,hw,T]
    columns = [weights[..., list(span.positions)].sum(-1) for span in recording.spans]  # K of [B,F,hw]
    height, width = recording.shape.at(hidden.shape[2])
    return torch.stack(columns, dim=1).unflatten(-1, (height, width))  # [B,K,F,hw] -> [B,K,F,h,w]


def _temporal_map(recording: Recording, attention: Any, hidden: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    hidden = hidden.unflatten(0, (recording.shape.batch, -1))[recording.rows]  # [B*hw,F,D] -> [B,hw,F,D]
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
    """Maps [..., h, w] divided by their maximum in each frame, which is treated as a constant: 0..1."""
    largest = maps.detach().amax(dim=(-2, -1), keepdim=True)
    return maps / largest.clamp(min=1e-8)


def mean_map(maps: Sequence[torch.Tensor], height: int, width: int) -> torch.Tensor:
    """Mean of several layers' maps [1, K, F, h, w], normalized and resized: [K, F, H, W] on the CPU."""
    enlarged = [F.interpolate(normalize_maps(m[0]).cpu(), size=(height, width), mode="bilinear") for m in maps]
    return torch.stack(enlarged).mean(0)


@contextmanager
def record(
    network: nn.Module,
    layers: Sequence[AttentionLayer],
    spans: Sequence[TokenSpan] = (),
    rows: slice = slice(None),
    stop: bool = False,
    end: nn.Module | None = None,
    constant: Sequence[AttentionLayer] = (),
    processor_of: Callable[[Any, AttentionLayer, Recording], Any] = _RecordingProcessor,
) -> Iterator[AttentionMaps]:
    """Record the maps of ``layers`` in every forward of ``network`` inside the context.

    Args:
        network: takes latents [B, C, f, H, W] as its first argument; its attention layers have a ``processor``.
        layers: the layers in execution order; an empty list records nothing.
        spans: for cross-attention maps: K token spans, the same for the whole recorded batch.
        rows: the part of the batch to record.
        stop: end the forward pass with ``ForwardEnded`` after the last layer.
        end: end it after this module instead, which contains the last layer: a module that is recomputed in the
            backward pass must run to its end.
        constant: layers whose maps are recorded without gradients.
        processor_of: (processor, layer, recording) -> one that does the same and calls ``recording.take``.
    """
    if any(layer.kind == "cross" for layer in layers) and not spans:
        raise ValueError("spans: got none, but a cross-attention map needs the tokens it is for")
    recording = Recording(layers, spans, rows, stop and end is None, frozenset(constant))
    modules: dict[AttentionLayer, Any] = {layer: network.get_submodule(layer.name) for layer in layers}
    inner = {layer: module.processor for layer, module in modules.items()}

    def note_shape(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        batch, _channels, frames, height, width = arguments[0].shape
        if frames == 1 and any(layer.kind == "temporal" for layer in layers):
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
        for layer, module in modules.items():
            module.processor = processor_of(inner[layer], layer, recording)
        yield recording.maps
    finally:
        for hook in hooks:
            hook.remove()
        for layer, module in modules.items():
            module.processor = inner[layer]
