"""The contract of a base model: everything that stages, training and sampling may use.

A new base is one new file beside this one.  No other module asks which base it has or assumes noise prediction.

Shapes: B batch, F frames of a video, C latent channels, f H W latent frames, height and width, D width.

A base may hold several frames of a video in one latent frame (``temporal_factor``): the first frame alone, then as many
at a time, so that a video has 1 + n * factor frames and 1 + n latent frames.  Encoded prompts are a matter of the base
(``encoded_text``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import nn

from .attention_maps import AttentionLayer, AttentionMaps
from .encoded_text import EncodedText
from .text import SpecialToken, TokenSpan

Prediction = Literal["epsilon", "v", "flow"]
Role = Literal["spatial", "temporal"]
LayerKind = Literal["projections", "cross_attention"]
Gradients = Literal["none", "checkpointed", "stored"]


@dataclass(frozen=True)
class NoiseLevel:
    """A noise level: x_t = a * x0 + s * eps.  Under flow matching a = 1 - s.

    Attributes:
        t: timestep that the network is conditioned on, [] or [B].
        a: coefficient of the clean video, [] or [B], float32.
        s: coefficient of the noise, [] or [B], float32.
    """

    t: torch.Tensor
    a: torch.Tensor
    s: torch.Tensor

    def coefficients(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(a, s) shaped to multiply with x [B, C, f, H, W]."""
        shape = (-1, *(1,) * (x.ndim - 1))
        return self.a.to(x.device).view(shape), self.s.to(x.device).view(shape)


@dataclass(frozen=True)
class Target:
    """A linear layer that a LoRA can adapt.

    Attributes:
        module: its dotted name in the network.
        rows: the output rows that the LoRA may change, such as those of some heads; None: all.  The others of its B
            are zero and stay so.
    """

    module: str
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True)
class MemoryMode:
    """How a base saves device memory; ``memory.py`` defines the three modes that users choose from.

    Attributes:
        name: as users choose it.
        keep_encoders: text encoder and autoencoder stay on the device while unused.
        gradient_checkpointing: activations are recomputed in the backward pass instead of stored.
        keep_weights: the network's weights stay on the device; else each layer's are loaded when it runs.
        sequential_batch: without gradients, the videos of a batch pass the network one after the other.
        vae_tiling: large frames pass the autoencoder in tiles.
    """

    name: str
    keep_encoders: bool = True
    gradient_checkpointing: bool = False
    keep_weights: bool = True
    sequential_batch: bool = False
    vae_tiling: bool = False


class Backbone(Protocol):
    """A text-to-video base model, loaded.

    Latents are float32 [B, C, f, H, W] of about unit variance; pixels float32 [B, 3, F, h, w] in
    -1..1.  Weights are frozen; gradients flow to latents and prompt embeddings where asked.
    """

    name: str
    prediction: Prediction

    @property
    def text_gradients(self) -> bool:
        """Whether special tokens can be learned; else they stand for trigger words (``trigger_words``)."""

    @property
    def device(self) -> torch.device:
        """The device of the network."""

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype; latents, maps and losses are always float32."""

    @property
    def memory(self) -> MemoryMode:
        """The memory mode in use; initially everything stays on the device."""

    @property
    def network(self) -> nn.Module:
        """The denoising network, in which ``targets`` and ``attention_layers`` name their layers."""

    @property
    def temporal_factor(self) -> int:
        """Frames that a latent frame holds, but for the first, which holds one (``latent_time``)."""

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Latent shape (C, f, H, W) of a video; ValueError for a length or size that the base cannot generate."""

    def activation_memory(self, lengths: Sequence[int], height: int, width: int, gradients: Gradients = "none") -> int:
        """Estimated bytes of activations in one pass through the network.

        Args:
            lengths: frames of each video that is in memory at once.
            height: in pixels.
            width: in pixels.
            gradients: "none"; or activations are "stored" for the backward pass; or "checkpointed".
        """

    def use_memory(self, mode: MemoryMode, device: torch.device | None = None) -> None:
        """Switch to a memory mode and a device.  No LoRA may be on the base and no recording active."""

    def resident(self, mode: MemoryMode) -> list[nn.Module]:
        """The modules that stay on the device in a mode."""

    def weights_memory(self, mode: MemoryMode) -> int:
        """Bytes of weights on the device at the same time."""

    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels [B, 3, F, h, w] -> clean latents [B, C, f, H, W], without sampling noise."""

    def decode_video(self, latents: torch.Tensor) -> torch.Tensor:
        """Clean latents [B, C, f, H, W] -> pixels [B, 3, F, h, w] in -1..1."""

    def encode_prompt(
        self, texts: Sequence[str], tokens: Sequence[SpecialToken] = (), as_superclass: bool = False
    ) -> EncodedText:
        """B encoded prompts, opaque to whoever is not the base.

        Special tokens become learned vectors, or their superclass words.
        """

    def token_spans(self, text: str, tokens: Sequence[SpecialToken], as_superclass: bool = False) -> list[TokenSpan]:
        """Positions of each special token of a prompt, or of its superclass words, in the text's order."""

    def word_spans(self, text: str, word: str, tokens: Sequence[SpecialToken] = ()) -> list[TokenSpan]:
        """Positions of each occurrence of a plain word or phrase."""

    def levels(self, steps: int) -> list[NoiseLevel]:
        """``steps`` + 1 noise levels from noisy to clean; the last is the result of the last step."""

    def level_at(self, share: float) -> NoiseLevel:
        """The noise level at a share of the way from clean (0) to noise (1), on the base's own scale of timesteps."""

    def random_level(self, batch: int, generator: torch.Generator) -> NoiseLevel:
        """Random noise levels [B] for a training batch, spread as the base was trained; covers every expert of a base
        with several."""

    def predict(self, x: torch.Tensor, level: NoiseLevel, text: EncodedText) -> torch.Tensor:
        """The network's native output for noisy latents, [B, C, f, H, W] float32.

        Args:
            x: noisy latents [B, C, f, H, W].
            level: one for all of x, or one per sample.
            text: B encoded prompts.

        A video of one frame passes as images did when the base was trained on them: a U-Net's skips its temporal
        layers, a transformer's is attended to like any other.
        """

    def initial_vectors(self, words: str, count: int) -> torch.Tensor:
        """Initial vectors [count, D] of a new special token: those of ``words``, repeated or averaged."""

    def targets(
        self,
        role: Role,
        attention_only: bool = False,
        train_transformer_in: bool = True,
        leave_out: Collection[LayerKind] = (),
    ) -> list[Target]:
        """The linear layers of one role.  Roles may overlap in a base that does not split them.

        Args:
            role: "spatial" layers learn appearance, "temporal" ones motion.  Where both are in one layer, as the
                heads of a transformer, targets have ``rows``.
            attention_only: only query, key, value and output projections.
            train_transformer_in: with those of a temporal transformer at the network's input.
            leave_out: kinds of layers that are not wanted; all attention of temporal layers is self-attention.
        """

    def attention_layers(self, kind: Literal["cross", "temporal"]) -> list[AttentionLayer]:
        """The attention layers that can be recorded, in execution order."""

    def record(
        self,
        layers: Sequence[AttentionLayer],
        spans: Sequence[TokenSpan] = (),
        rows: slice = slice(None),
        stop: bool = False,
        constant: Sequence[AttentionLayer] = (),
    ) -> AbstractContextManager[AttentionMaps]:
        """Record attention maps, with gradients, in every ``predict`` inside the context.

        Args:
            layers: layers to record; all others keep their fused attention.
            spans: tokens of the cross-attention maps; the columns of a span are summed.
            rows: part of the batch to record, e.g. the conditional half under guidance.
            stop: ``record_forward`` ends after the last layer; ``predict`` is not called inside.
            constant: layers whose maps are recorded without gradients, which saves memory.
        """

    def record_forward(self, x: torch.Tensor, level: NoiseLevel, text: EncodedText) -> None:
        """Run the network only as far as the last recorded layer, inside ``record(stop=True)``."""
