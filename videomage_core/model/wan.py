"""Wan 2.1, and the built-in ``emoji_wan``: any diffusers folder with a WanTransformer3DModel and one expert.

The network predicts the flow v = eps - x0.  Layers are called as diffusers calls them: in each block ``attn1`` is
self-attention over all places of all frames, ``attn2`` cross-attention to the text.  Self-attention's heads are either
temporal or spatial (``wan_heads``); its output projection mixes both kinds, and no LoRA is put there (ours).

An image is a video of one frame and passes all layers: so Wan was trained on images.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from . import attention_maps
from .active_adapters import use_adapters
from .attention_maps import AttentionLayer, AttentionMaps, ForwardEnded, Recording
from .backbone import Gradients, LayerKind, NoiseLevel, Prediction, Role, Target
from .base_folder import require_multiples
from .flow_schedule import FlowSchedule
from .latent_time import latent_frames
from .placement import PlacedParts
from .text import SpecialToken, TokenSpan
from .wan_attention import TextContext, WanAttentionProcessor, WanRecordingProcessor
from .wan_heads import find_temporal_heads, rows_of
from .wan_text import PaddedText, Umt5PromptEncoder

_CHUNK = 4  # frames that diffusers' autoencoder takes at a time, after the first; it drops what is left over
_CROSS = ("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0")
_FEED_FORWARD = ("ffn.net.0.proj", "ffn.net.2")
# Values alive at a place in one block, as multiples of its width and of its feed-forward layer's.
_BLOCK_VALUES, _FFN_VALUES = 20, 3
PROBE = (17, 240, 416)  # frames and pixels of the video by which heads are told apart


class WanBackbone(PlacedParts):
    """A loaded base that implements ``backbone.Backbone``; create it with ``load_base``.

    Args:
        name: of the base.
        transformer: a WanTransformer3DModel.
        vae: an AutoencoderKLWan.
        text_encoder: a UMT5EncoderModel.
        tokenizer: its tokenizer.
        shift: of the noise levels (``flow_schedule``).
        probe: frames, height and width of the video by which heads are told apart: a size the base was trained on.
    """

    prediction: Prediction = "flow"

    def __init__(
        self,
        name: str,
        transformer: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        shift: float,
        probe: tuple[int, int, int] = PROBE,
    ) -> None:
        super().__init__()
        self.name, self.transformer, self.vae = name, transformer, vae
        self.prompts = Umt5PromptEncoder(tokenizer, text_encoder)
        self.schedule, self._probe = FlowSchedule(shift), probe
        self._heads: torch.Tensor | None = None
        for block in transformer.blocks:
            block.attn1.processor = block.attn2.processor = WanAttentionProcessor()
        for part in (transformer, vae, text_encoder):
            part.eval().requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """See ``Backbone``."""
        network: nn.Module = self.transformer
        return network

    @property
    def text_encoder(self) -> nn.Module:
        encoder: nn.Module = self.prompts.text_encoder
        return encoder

    @property
    def device(self) -> torch.device:
        """See ``Backbone``."""
        return self._first_weight.device

    @property
    def dtype(self) -> torch.dtype:
        """See ``Backbone``; some layers, such as norms, stay in fp32, as diffusers loads them."""
        return self._first_weight.dtype

    @property
    def _first_weight(self) -> torch.Tensor:
        weight: torch.Tensor = self.transformer.patch_embedding.weight
        return weight

    def checkpointed_layers(self) -> list[nn.Module]:
        """See ``PlacedParts``: the blocks."""
        return list(self.transformer.blocks)

    # --- sizes and memory

    @property
    def spatial_factor(self) -> int:
        """Pixels per latent along one side."""
        factor: int = self.vae.config.scale_factor_spatial
        return factor

    @property
    def temporal_factor(self) -> int:
        """See ``Backbone``."""
        factor: int = self.vae.config.scale_factor_temporal
        return factor

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """See ``Backbone``; sides are whole patches of the transformer."""
        factor = self.spatial_factor
        require_multiples(factor * self.transformer.config.patch_size[1], height, width)
        channels: int = self.transformer.config.in_channels
        return channels, latent_frames(frames, self.temporal_factor), height // factor, width // factor

    def activation_memory(self, lengths: Sequence[int], height: int, width: int, gradients: Gradients = "none") -> int:
        """See ``Backbone``; attention is fused, so memory grows with the places, and time with their square."""
        config = self.transformer.config
        dim, depth = config.num_attention_heads * config.attention_head_dim, len(self.transformer.blocks)
        patch, places = config.patch_size[1], 0
        for frames in lengths:
            _, f, h, w = self.latent_shape(frames, height, width)
            places += f * (h // patch) * (w // patch)
        one = _BLOCK_VALUES * dim + _FFN_VALUES * config.ffn_dim  # of a place in one block
        activations = {"none": one // 2, "checkpointed": one + depth * dim, "stored": one * depth}[gradients]
        return int(places * activations * self.dtype.itemsize)

    # --- pixels

    @torch.no_grad()
    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        """See ``Backbone``; the mode of the autoencoder's posterior, normalised."""
        frames = latent_frames(pixels.shape[2], self.temporal_factor)
        missing = -(pixels.shape[2] - 1) % _CHUNK
        whole = F.pad(pixels, (0, 0, 0, 0, 0, missing), mode="replicate") if missing else pixels  # frames only
        mean, std = self._normalisation()
        with self._at_work(self.vae):
            videos = whole.to(self.device, self.vae.dtype).split(1)
            latents = torch.cat([self.vae.encode(video).latent_dist.mode().float() for video in videos])
        return ((latents - mean) / std)[:, :, :frames]

    @torch.no_grad()
    def decode_video(self, latents: torch.Tensor) -> torch.Tensor:
        """See ``Backbone``; clipped to -1..1."""
        mean, std = self._normalisation()
        with self._at_work(self.vae):
            raw = (latents.to(self.device).float() * std + mean).to(self.vae.dtype)
            videos = [self.vae.decode(video).sample.float() for video in raw.split(1)]
        return torch.cat(videos).clamp(-1, 1)

    def _normalisation(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the autoencoder's latents, [C, 1, 1, 1]."""
        values = (self.vae.config.latents_mean, self.vae.config.latents_std)
        mean, std = (torch.tensor(each, device=self.device).view(-1, 1, 1, 1) for each in values)
        return mean, std

    # --- text

    def encode_prompt(
        self, texts: Sequence[str], tokens: Sequence[SpecialToken] = (), as_superclass: bool = False
    ) -> PaddedText:
        """See ``Backbone``."""
        with self._at_work(self.text_encoder):
            encoded: PaddedText = self.prompts.encode(texts, tokens, as_superclass)
        return encoded

    def token_spans(self, text: str, tokens: Sequence[SpecialToken], as_superclass: bool = False) -> list[TokenSpan]:
        """See ``Backbone``."""
        return self.prompts.spans(text, tokens, as_superclass)

    def word_spans(self, text: str, word: str, tokens: Sequence[SpecialToken] = ()) -> list[TokenSpan]:
        """See ``Backbone``."""
        return self.prompts.word_spans(text, word, tokens)

    def initial_vectors(self, words: str, count: int) -> torch.Tensor:
        """See ``Backbone``."""
        return self.prompts.initial_vectors(words, count)

    # --- noise levels and the network

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
        t = level.t.expand(len(x))
        if not self.memory.sequential_batch or torch.is_grad_enabled():
            return self._forward(x, t, text)
        rows = [slice(i, i + 1) for i in range(len(x))]
        return torch.cat([self._forward(x[row], t[row], text[row]) for row in rows])

    def _forward(self, x: torch.Tensor, t: torch.Tensor, text: PaddedText) -> torch.Tensor:
        device, dtype = self.device, self.dtype
        with self._padded(text):
            embeddings = text.embeddings.to(device, dtype)
            output: torch.Tensor = self.transformer(x.to(device, dtype), t.to(device), embeddings, return_dict=False)[0]
        return output.float()

    @contextmanager
    def _padded(self, text: PaddedText) -> Iterator[None]:
        """Inside, what leaves the text projection tells the blocks where the text ends."""
        bias, only_real = text.bias().to(self.device), text.only_real().to(self.device)
        projection = self.transformer.condition_embedder.text_embedder
        hook = projection.register_forward_hook(lambda _, __, embedded: TextContext(embedded, bias, only_real))
        try:
            yield
        finally:
            hook.remove()

    # --- layers

    @property
    def temporal_heads(self) -> torch.Tensor:
        """Which heads of which block are temporal, bool [L, H]; found when first asked for, without LoRAs."""
        if self._heads is None:
            with use_adapters(self, {}):
                self._heads = find_temporal_heads(self, [b.attn1 for b in self.transformer.blocks], self._probe)
        return self._heads

    def targets(
        self,
        role: Role,
        attention_only: bool = False,
        train_transformer_in: bool = True,
        leave_out: Collection[LayerKind] = (),
    ) -> list[Target]:
        """See ``Backbone``: self-attention's q, k and v by head; cross-attention and feed-forward are spatial."""
        targets = []
        for index, heads in enumerate(self.temporal_heads):
            rows = self._rows(heads, role)
            names = ("attn1.to_q", "attn1.to_k", "attn1.to_v")
            targets += [Target(f"blocks.{index}.{name}", rows) for name in names if rows]
            if role == "temporal":
                continue
            whole = [] if "cross_attention" in leave_out else list(_CROSS)
            whole += [] if attention_only else list(_FEED_FORWARD)
            targets += [Target(f"blocks.{index}.{name}") for name in whole]
        return targets

    def _rows(self, heads: torch.Tensor, role: Role) -> tuple[int, ...]:
        """The rows of a block's q, k and v that a role may change."""
        split = bool(self.temporal_heads.any())
        chosen = torch.ones_like(heads) if not split else heads if role == "temporal" else ~heads
        return rows_of(chosen, self.transformer.config.attention_head_dim)

    def attention_layers(self, kind: Literal["cross", "temporal"]) -> list[AttentionLayer]:
        """See ``Backbone``; self-attention of the blocks that have temporal heads."""
        heads = self.temporal_heads
        if kind == "cross":
            return [AttentionLayer(f"blocks.{index}.attn2", kind) for index in range(len(heads))]
        having = heads.any(1) if bool(heads.any()) else torch.ones(len(heads), dtype=torch.bool)
        return [AttentionLayer(f"blocks.{index}.attn1", kind) for index in having.nonzero().flatten().tolist()]

    def record(
        self,
        layers: Sequence[AttentionLayer],
        spans: Sequence[TokenSpan] = (),
        rows: slice = slice(None),
        stop: bool = False,
        constant: Sequence[AttentionLayer] = (),
    ) -> AbstractContextManager[AttentionMaps]:
        """See ``Backbone``; M_SCA is over the prompt's own tokens, M_TSA the mean of a block's temporal heads."""
        heads = self.temporal_heads

        def processor_of(_: Any, layer: AttentionLayer, recording: Recording) -> WanRecordingProcessor:
            own = heads[_block(layer)]
            return WanRecordingProcessor(layer, recording, own if bool(own.any()) else torch.ones_like(own))

        ordered = sorted(layers, key=lambda layer: (_block(layer), layer.name))
        end = self._recomputed_layer(ordered[-1]) if stop and ordered else None
        return attention_maps.record(self.transformer, ordered, spans, rows, stop, end, constant, processor_of)

    def record_forward(self, x: torch.Tensor, level: NoiseLevel, text: Any) -> None:
        """See ``Backbone``."""
        with suppress(ForwardEnded):
            self._forward(x, level.t.expand(len(x)), text)


def _block(layer: AttentionLayer) -> int:
    return int(layer.name.split(".")[1])
