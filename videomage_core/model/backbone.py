"""The contract of a base model: all that stages, training and sampling may know of one.

A new base is one new file beside this one.  Nothing else in the engine asks which base it has
or assumes noise prediction.

Shapes: B batch, F frames, C latent channels, H W latent height and width, T text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import nn

from .attention_maps import AttentionLayer, AttentionMaps
from .text import SpecialToken, TokenSpan

Prediction = Literal["epsilon", "v", "flow"]
Role = Literal["spatial", "temporal"]
LayerKind = Literal["projections", "cross_attention"]
Gradients = Literal["none", "checkpointed", "stored"]


@dataclass(frozen=True)
class NoiseLevel:
    """A noise level: x_t = a * x0 + s * eps.  Under flow matching a = 1 - s.

    Attributes:
        t: what the network is told, [] or [B].
        a: the clean video's share, [] or [B], float32.
        s: the noise's share, [] or [B], float32.
    """

    t: torch.Tensor
    a: torch.Tensor
    s: torch.Tensor

    def coefficients(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(a, s) shaped to multiply with x [B, C, F, H, W]."""
        shape = (-1, *(1,) * (x.ndim - 1))
        return self.a.to(x.device).view(shape), self.s.to(x.device).view(shape)


@dataclass(frozen=True)
class Target:
    """A linear layer a LoRA may be put on.

    Attributes:
        module: its dotted name in the network.
        rows: the output rows the LoRA may touch; None for all.
    """

    module: str
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True)
class MemoryMode:
    """What a base saves of its device's memory; ``memory.py`` has the three that users choose from.

    Attributes:
        name: as the user calls it.
        keep_encoders: text encoder and autoencoder stay on the device while they are not used.
        recomputes: activations are recomputed in the backward pass instead of kept.
        keep_weights: so do the network's weights; else each layer's come when it computes.
        sequential_batch: without gradients, the videos of a batch go through the network one after the other.
        tiles: large frames go through the autoencoder in tiles.
    """

    name: str
    keep_encoders: bool = True
    gradient_checkpointing: bool = False
    keep_weights: bool = True
    sequential_batch: bool = False
    vae_tiling: bool = False


class Backbone(Protocol):
    """A text-to-video base model, loaded.

    Latents are float32 [B, C, F, H, W] of about unit variance; pixels float32 [B, 3, F, h, w] in
    -1..1.  Weights are frozen; gradients flow to latents and prompt embeddings where asked.
    """

    name: str
    prediction: Prediction

    @property
    def device(self) -> torch.device:
        """Where the network computes."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights; latents, maps and losses are float32 whatever it is."""

    @property
    def memory(self) -> MemoryMode:
        """The mode it works in; at first all is kept on the device."""

    @property
    def network(self) -> nn.Module:
        """The denoising network, in which ``targets`` and ``attention_layers`` name their layers."""

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, F, H, W) of a video of that many frames and pixels; ValueError if it cannot make that size."""

    def activation_memory(self, frames: int, height: int, width: int, gradients: Gradients = "none") -> int:
        """About how many bytes a pass through the network takes beside its weights.

        Args:
            frames: of all videos that are in memory at once, together.
            height: in pixels.
            width: in pixels.
            gradients: "none" are taken, or activations are "stored" for them, or "checkpointed".
        """

    def use_memory(self, mode: MemoryMode, device: torch.device | None = None) -> None:
        """Work in a mode, and on a device, from now on; with no LoRA on the base and no recording under way."""

    def resident(self, mode: MemoryMode) -> list[nn.Module]:
        """What stays on the device in a mode."""

    def weights_memory(self, mode: MemoryMode) -> int:
        """Bytes of the weights that are on the device at once."""

    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels [B, 3, F, h, w] -> clean latents [B, C, F, H, W], without sampling noise."""

    def decode_video(self, latents: torch.Tensor) -> torch.Tensor:
        """The inverse: clean latents -> pixels in -1..1."""

    def encode_prompt(
        self, texts: Sequence[str], tokens: Sequence[SpecialToken] = (), as_superclass: bool = False
    ) -> torch.Tensor:
        """Prompts, with learned vectors or superclass words in place of special tokens, -> [B, T, D]."""

    def token_spans(self, text: str, tokens: Sequence[SpecialToken], as_superclass: bool = False) -> list[TokenSpan]:
        """Where each special token of a prompt, or its superclass words, stands; in the text's order."""

    def word_spans(self, text: str, word: str, tokens: Sequence[SpecialToken] = ()) -> list[TokenSpan]:
        """Where each occurrence of a plain word, or of a few words, stands."""

    def levels(self, steps: int) -> list[NoiseLevel]:
        """``steps`` + 1 levels from noisy to clean; the last is where the last step lands."""

    def random_level(self, batch: int, generator: torch.Generator) -> NoiseLevel:
        """Levels for a training batch, [B]; covers every expert of a base that has several."""

    def predict(self, x: torch.Tensor, level: NoiseLevel, text: torch.Tensor) -> torch.Tensor:
        """The network's native output for noisy latents, [B, C, F, H, W] float32.

        Args:
            x: noisy latents [B, C, F, H, W].
            level: of all of x, or one for each of B.
            text: prompt embeddings [B, T, D].

        A one-frame video passes no temporal layer.
        """

    def initial_vectors(self, words: str, count: int) -> torch.Tensor:
        """Vectors [count, D] for a new special token to start from: those of ``words``, repeated or averaged."""

    def targets(
        self,
        role: Role,
        attention_only: bool = False,
        train_transformer_in: bool = True,
        leave_out: Collection[LayerKind] = (),
    ) -> list[Target]:
        """The linear layers of one role.  Roles may overlap in a base that does not split them.

        Args:
            role: spatial layers learn looks, temporal ones motion.
            attention_only: q, k, v and out alone, without projections and feed-forward layers.
            train_transformer_in: with those of a temporal transformer at the network's input.
            leave_out: kinds of layers that are not wanted; all attention of temporal layers is self-attention.
        """

    def attention_layers(self, kind: Literal["cross", "temporal"]) -> list[AttentionLayer]:
        """The layers whose attention can be recorded, in the order in which they run."""

    def record(
        self,
        sites: Sequence[AttentionLayer],
        spans: Sequence[TokenSpan] = (),
        rows: slice = slice(None),
        stop: bool = False,
        constant: Sequence[AttentionLayer] = (),
    ) -> AbstractContextManager[AttentionMaps]:
        """Record attention maps, with gradients, in every ``predict`` inside the context.

        Args:
            sites: where; all other layers keep their fused attention.
            spans: for cross maps, which tokens; the columns of a span are summed.
            rows: which part of the batch, e.g. the conditional half under guidance.
            stop: ``record_forward`` goes no further than the last site; there is no ``predict`` inside.
            constant: those of the sites through whose maps no gradients are wanted; they cost no memory then.
        """

    def record_forward(self, x: torch.Tensor, level: NoiseLevel, text: torch.Tensor) -> None:
        """``predict`` for the sake of its maps alone, inside ``record(stop=True)``: ends after the last site."""
