"""ZeroScope, ModelScope and the built-in base: any diffusers folder with a UNet3DConditionModel.

Layers, as diffusers names them: spatial transformers stand under ``attentions``, temporal ones
under ``temp_attentions`` (which contains the text "attentions": names are compared by part, never
by substring) and ``transformer_in``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Literal

import torch
from torch import nn

from . import attention_maps
from .attention_maps import AttentionLayer, AttentionMaps, ForwardEnded
from .backbone import Gradients, LayerKind, NoiseLevel, Prediction, Role, Target
from .base_folder import PREDICTIONS, require_multiples
from .discrete_schedule import DiscreteSchedule
from .fast_attention import FastAttention
from .placement import PlacedParts
from .text import PromptEncoder, SpecialToken, TokenSpan

# Peak number of live values per latent position and frame in ZeroScope's U-Net, whose first blocks are
# _WIDTH wide, with LoRAs of rank 4.  Each was measured where it is largest: "none" in a prediction, "checkpointed" in
# SCS's guidance, "stored" in a step of a motion's training.  They grow with the width alone.  (In fp16 a guidance keeps
# its graph for a second try, 41 000, which the margin of ``required_memory`` on weights and activations covers.)
_ALIVE: dict[Gradients, int] = {"none": 10_600, "checkpointed": 31_000, "stored": 236_000}
_WIDTH = 320


class UNet3DBackbone(PlacedParts):
    """A loaded base that implements ``backbone.Backbone``; create it with ``load_unet3d``."""

    def __init__(self, name: str, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any, scheduler: Any) -> None:
        from .single_frame import skip_temporal_layers_at_one_frame  # imports diffusers, which is slow

        self.name = name
        self.unet, self.vae = unet, vae
        self.prompts = PromptEncoder(tokenizer, text_encoder)
        self.schedule = DiscreteSchedule(
            scheduler.alphas_cumprod.float(),
            bool(scheduler.config.get("set_alpha_to_one", False)),
            int(scheduler.config.get("steps_offset", 0)),
        )
        self.prediction: Prediction = PREDICTIONS[scheduler.config.prediction_type]
        super().__init__()
        skip_temporal_layers_at_one_frame(unet)
        unet.set_attn_processor(FastAttention())
        for part in (unet, vae, text_encoder):
            part.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self._first_weight.device

    @property
    def network(self) -> nn.Module:
        return self.unet

    @property
    def text_encoder(self) -> nn.Module:
        encoder: nn.Module = self.prompts.text_encoder
        return encoder

    @property
    def temporal_factor(self) -> int:
        """See ``Backbone``: a latent for each frame."""
        return 1

    @property
    def alphas_cumprod(self) -> torch.Tensor:
        return self.schedule.alphas_cumprod

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights; latents, maps and losses are float32 whatever it is."""
        return self._first_weight.dtype

    @property
    def _first_weight(self) -> torch.Tensor:
        """On the device in every memory mode; diffusers' own ``device`` and ``dtype`` walk through all modules."""
        weight: torch.Tensor = self.unet.conv_in.weight
        return weight

    @property
    def spatial_factor(self) -> int:
        """Pixels per latent along one side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """See ``Backbone``; sides must be multiples of the autoencoder's factor."""
        factor = self.spatial_factor
        require_multiples(factor, height, width)
        return self.unet.config.in_channels, frames, height // factor, width // factor

    def activation_memory(self, lengths: Sequence[int], height: int, width: int, gradients: Gradients = "none") -> int:
        """See ``Backbone``; frames * H * W * ``_ALIVE`` values of the base's precision."""
        _, _, h, w = self.latent_shape(1, height, width)
        share = self.unet.config.block_out_channels[0] / _WIDTH
        return int(sum(lengths) * h * w * _ALIVE[gradients] * share * self.dtype.itemsize)

    @torch.no_grad()
    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        """See ``Backbone``; frame by frame, the mode of the autoencoder's posterior."""
        return self._by_frames(
            pixels, lambda frame: self.vae.encode(frame).latent_dist.mode() * self.vae.config.scaling_factor
        )

    @torch.no_grad()
    def decode_video(self, latents: torch.Tensor) -> torch.Tensor:
        """See ``Backbone``; frame by frame, clipped to -1..1."""
        scale = self.vae.config.scaling_factor
        return self._by_frames(latents, lambda frame: self.vae.decode(frame / scale).sample).clamp(-1, 1)

    def _by_frames(self, video: torch.Tensor, convert: Any) -> torch.Tensor:
        batch = video.shape[0]
        frames = video.transpose(1, 2).flatten(0, 1)  # [B,C,F,H,W] -> [B*F,C,H,W]
        with self._at_work(self.vae):
            converted = [convert(frame[None].to(self.device, self.vae.dtype)).float() for frame in frames]
        return torch.cat(converted).unflatten(0, (batch, -1)).transpose(1, 2)  # [B*F,C,H,W] -> [B,C,F,H,W]

    def encode_prompt(
        self, texts: Sequence[str], tokens: Sequence[SpecialToken] = (), as_superclass: bool = False
    ) -> torch.Tensor:
        """See ``Backbone``."""
        with self._at_work(self.prompts.text_encoder):
            return self.prompts.encode(texts, tokens, as_superclass)

    def token_spans(self, text: str, tokens: Sequence[SpecialToken], as_superclass: bool = False) -> list[TokenSpan]:
        """See ``Backbone``."""
        return self.prompts.spans(text, tokens, as_superclass)

    def word_spans(self, text: str, word: str, tokens: Sequence[SpecialToken] = ()) -> list[TokenSpan]:
        """See ``Backbone``."""
        return self.prompts.word_spans(text, word, tokens)

    def levels(self, steps: int) -> list[NoiseLevel]:
        """See ``Backbone``."""
        return self.schedule.levels(steps)

    def level_at(self, share: float) -> NoiseLevel:
        """See ``Backbone``."""
        return self.schedule.level_at(share)

    def random_level(self, batch: int, generator: torch.Generator) -> NoiseLevel:
        """See ``Backbone``."""
        return self.schedule.random_level(batch, generator)

    def predict(self, x: torch.Tensor, level: NoiseLevel, text: Any) -> torch.Tensor:
        """See ``Backbone``."""
        if not self.memory.sequential_batch or torch.is_grad_enabled():
            return self._forward(x, level.t.expand(len(x)), text)
        videos = zip(x.split(1), level.t.expand(len(x)).split(1), text.split(1), strict=True)
        return torch.cat([self._forward(*video) for video in videos])

    def _forward(self, x: torch.Tensor, t: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        device, dtype = self.device, self.dtype
        return self.unet(x.to(device, dtype), t.to(device), text.to(device, dtype)).sample.float()

    def initial_vectors(self, words: str, count: int) -> torch.Tensor:
        """See ``Backbone``."""
        return self.prompts.initial_vectors(words, count)

    def targets(
        self,
        role: Role,
        attention_only: bool = False,
        train_transformer_in: bool = True,
        leave_out: Collection[LayerKind] = (),
    ) -> list[Target]:
        """See ``Backbone``: all linear layers of the spatial, or of the temporal transformers."""
        names = [
            name.removesuffix(".base_layer")  # as peft calls a layer that carries a LoRA
            for name, module in self.unet.named_modules()
            if isinstance(module, nn.Linear) and _role_of(name) == role and not _is_lora(name)
        ]
        if attention_only:
            names = [name for name in names if {"attn1", "attn2"} & set(name.split("."))]
        if not train_transformer_in:
            names = [name for name in names if not name.startswith("transformer_in.")]
        if "projections" in leave_out:
            names = [name for name in names if name.rpartition(".")[2] not in ("proj_in", "proj_out")]
        if "cross_attention" in leave_out and role == "spatial":
            names = [name for name in names if "attn2" not in name.split(".")]
        return [Target(name) for name in names]

    def checkpointed_layers(self) -> list[nn.Module]:
        """The checkpointed modules: convolutions and transformers.  Whole blocks would take two to three times the
        memory."""
        blocks = [*self.unet.down_blocks, self.unet.mid_block, *self.unet.up_blocks]
        lists = ("resnets", "temp_convs", "attentions", "temp_attentions", "downsamplers", "upsamplers")
        return [self.unet.transformer_in, *(m for b in blocks for name in lists for m in getattr(b, name, None) or ())]

    def attention_layers(self, kind: Literal["cross", "temporal"]) -> list[AttentionLayer]:
        """See ``Backbone``.  Both attention layers of a temporal block are temporal self-attention."""
        role, attentions = ("spatial", ("attn2",)) if kind == "cross" else ("temporal", ("attn1", "attn2"))
        names = [name for name, _ in self.unet.named_modules() if _role_of(name) == role]
        return sorted((AttentionLayer(n, kind) for n in names if n.split(".")[-1] in attentions), key=_running_order)

    def record(
        self,
        layers: Sequence[AttentionLayer],
        spans: Sequence[TokenSpan] = (),
        rows: slice = slice(None),
        stop: bool = False,
        constant: Sequence[AttentionLayer] = (),
    ) -> AbstractContextManager[AttentionMaps]:
        """See ``Backbone``."""
        ordered = sorted(layers, key=_running_order)
        end = self._recomputed_layer(ordered[-1]) if stop and ordered else None
        return attention_maps.record(self.unet, ordered, spans, rows, stop, end, constant)

    def record_forward(self, x: torch.Tensor, level: NoiseLevel, text: Any) -> None:
        """See ``Backbone``."""
        with suppress(ForwardEnded):
            self._forward(x, level.t.expand(len(x)), text)


def _is_lora(name: str) -> bool:
    return bool({"lora_A", "lora_B"} & set(name.split(".")))


def _role_of(name: str) -> Role | None:
    """The role of the transformer that a module belongs to."""
    parts = name.split(".")
    if "temp_attentions" in parts or "transformer_in" in parts:
        return "temporal"
    return "spatial" if "attentions" in parts else None


def _running_order(layer: AttentionLayer) -> tuple[int, list[int], bool, str]:
    """Execution order; in a block, each spatial transformer runs before its temporal one."""
    stages = ("transformer_in", "down_blocks", "mid_block", "up_blocks")
    parts = layer.name.split(".")
    numbers = [int(part) for part in parts if part.isdigit()]
    return stages.index(parts[0]), numbers, "temp_attentions" in parts, parts[-1]
