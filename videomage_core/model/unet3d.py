"""ZeroScope, ModelScope and the embedded base: any diffusers folder with a UNet3DConditionModel.

Layers, as diffusers names them: spatial transformers stand under ``attentions``, temporal ones
under ``temp_attentions`` (which contains the text "attentions": names are compared by part, never
by substring) and ``transformer_in``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from . import attention_maps
from .attention_maps import AttentionLayer, AttentionMaps, ForwardEnded
from .backbone import Gradients, LayerKind, MemoryMode, NoiseLevel, Prediction, Role, Target
from .base_folder import PREDICTIONS, require_multiples
from .fast_attention import FastAttention
from .offloading import bytes_of, checkpointed, offloaded, patch_forward
from .text import PromptEncoder, SpecialToken, TokenSpan

# Values alive at once for each latent position of each frame in ZeroScope's U-Net, whose first blocks are
# _WIDTH wide, with LoRAs of rank 4.  Each was counted where most are: "none" in a prediction, "checkpointed" in SCS's
# guidance, "stored" in a step of a motion's training.  They grow with the width alone.  (In fp16 a guidance keeps its
# graph for a second try, 41 000, which the margin of ``required_memory`` on weights and activations covers.)
_ALIVE: dict[Gradients, int] = {"none": 10_600, "checkpointed": 31_000, "stored": 236_000}
_WIDTH = 320


class UNet3DBackbone:
    """A loaded base that keeps the contract of ``backbone.Backbone``; build it with ``load_unet3d``."""

    def __init__(self, name: str, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any, scheduler: Any) -> None:
        from .single_frame import skip_temporal_layers_at_one_frame  # imports diffusers, which is slow

        self.name = name
        self.unet, self.vae = unet, vae
        self.prompts = PromptEncoder(tokenizer, text_encoder)
        self.alphas_cumprod: torch.Tensor = scheduler.alphas_cumprod.float()
        self.set_alpha_to_one = bool(scheduler.config.get("set_alpha_to_one", False))
        self.steps_offset = int(scheduler.config.get("steps_offset", 0))
        self.prediction: Prediction = PREDICTIONS[scheduler.config.prediction_type]
        self.memory = MemoryMode("high")
        self._recomputing, self._undo = False, list[Callable[[], None]]()
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
    def dtype(self) -> torch.dtype:
        """Of the weights; latents, maps and losses are float32 whatever it is."""
        return self._first_weight.dtype

    @property
    def _first_weight(self) -> torch.Tensor:
        """It stays in every memory mode; diffusers' own ``device`` and ``dtype`` walk through all modules."""
        weight: torch.Tensor = self.unet.conv_in.weight
        return weight

    @property
    def spatial_factor(self) -> int:
        """Pixels of a latent's side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """See ``Backbone``; sides must be multiples of the autoencoder's factor."""
        factor = self.spatial_factor
        require_multiples(factor, height, width)
        return self.unet.config.in_channels, frames, height // factor, width // factor

    def activation_memory(self, frames: int, height: int, width: int, gradients: Gradients = "none") -> int:
        """See ``Backbone``; frames * H * W * ``_ALIVE`` values of the base's precision."""
        _, _, h, w = self.latent_shape(1, height, width)
        share = self.unet.config.block_out_channels[0] / _WIDTH
        return int(frames * h * w * _ALIVE[gradients] * share * self.dtype.itemsize)

    def use_memory(self, mode: MemoryMode, device: torch.device | None = None) -> None:
        """See ``Backbone``; what is away is in main memory."""
        device = device or self.device
        while self._undo:
            self._undo.pop()()  # the forwards are the layers' own again
        self.memory, self._recomputing = mode, mode.gradient_checkpointing
        staying, away = self.resident(mode), torch.device("cpu")
        for part in (self.vae, self.prompts.text_encoder, *self.unet.children()):
            where = device if any(part in set(stays.modules()) for stays in staying) else away
            if any(weight.device != where for weight in part.state_dict().values()):
                part.to(where)
        if mode.vae_tiling:
            self.vae.enable_tiling()
        else:
            self.vae.disable_tiling()
        if not mode.keep_weights:
            # The way back needs the weights once more: they come again with what is recomputed.
            self._undo.append(patch_forward(self._layers(), partial(offloaded, device)))
        if mode.gradient_checkpointing:
            self._undo.append(patch_forward(self._layers(), checkpointed))

    def put_away(self) -> None:
        """Take off the device what the memory mode keeps in main memory, and gradients kept on it."""
        if not self.memory.keep_encoders:
            for part in (self.vae, self.prompts.text_encoder):
                part.to("cpu")

    def resident(self, mode: MemoryMode) -> list[nn.Module]:
        """See ``Backbone``."""
        layers = set(self._layers())
        small = [child for child in self.unet.children() if not layers & set(child.modules())]
        network = [self.unet] if mode.keep_weights else small
        return [*network, self.vae, self.prompts.text_encoder] if mode.keep_encoders else network

    def weights_memory(self, mode: MemoryMode) -> int:
        """See ``Backbone``; with the largest of what comes and goes."""
        coming = [] if mode.keep_weights else [max(map(bytes_of, self._layers()))]
        others = [] if mode.keep_encoders else [max(map(bytes_of, (self.vae, self.prompts.text_encoder)))]
        return sum([*map(bytes_of, self.resident(mode)), *coming, *others])

    @contextmanager
    def _at_work(self, part: Any) -> Iterator[None]:
        """Inside, the text encoder or the autoencoder is on the device; where gradients flow through it, it stays there
        until ``put_away``."""
        if self.memory.keep_encoders or part.device == self.device:
            yield
            return
        try:
            part.to(self.device)
            yield
        except BaseException:
            part.to("cpu")
            raise
        if not torch.is_grad_enabled():
            part.to("cpu")

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

    def _level(self, t: torch.Tensor) -> NoiseLevel:
        alpha_bar = self.alphas_cumprod[t]
        return NoiseLevel(t, alpha_bar.sqrt(), (1 - alpha_bar).sqrt())

    def levels(self, steps: int) -> list[NoiseLevel]:
        """See ``Backbone``; evenly spaced as DDIM's "leading" spacing, the last at the schedule's clean end."""
        length = len(self.alphas_cumprod)
        if not 1 <= steps <= length:
            raise ValueError(f"steps: got {steps}, allowed: 1 to {length}")
        offset = self.steps_offset if steps < length else 0  # with every step there is no room for one
        times = torch.arange(steps).flip(0) * (length // steps) + offset
        noisy = [self._level(t) for t in times.clamp(max=length - 1)]
        zero = torch.tensor(0)
        clean = NoiseLevel(zero, torch.tensor(1.0), torch.tensor(0.0)) if self.set_alpha_to_one else self._level(zero)
        return [*noisy, clean]

    def random_level(self, batch: int, generator: torch.Generator) -> NoiseLevel:
        """See ``Backbone``; timesteps drawn evenly."""
        return self._level(torch.randint(len(self.alphas_cumprod), (batch,), generator=generator))

    def predict(self, x: torch.Tensor, level: NoiseLevel, text: torch.Tensor) -> torch.Tensor:
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

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        """Inside, activations are recomputed, layer by layer (stock UNet3DConditionModel refuses it).

        Hooks and recorded maps fire again in the backward pass, and the adapters active then must be
        those that were active in the forward pass.
        """
        if self._recomputing:
            yield
            return
        undo, self._recomputing = patch_forward(self._layers(), checkpointed), True
        try:
            yield
        finally:
            undo()
            self._recomputing = False

    def _layers(self) -> list[nn.Module]:
        """What is recomputed at a time: a convolution, a transformer.  Whole blocks would take two to three times
        the memory."""
        blocks = [*self.unet.down_blocks, self.unet.mid_block, *self.unet.up_blocks]
        lists = ("resnets", "temp_convs", "attentions", "temp_attentions", "downsamplers", "upsamplers")
        return [self.unet.transformer_in, *(m for b in blocks for name in lists for m in getattr(b, name, None) or ())]

    def attention_layers(self, kind: Literal["cross", "temporal"]) -> list[AttentionLayer]:
        """See ``Backbone``.  Both attention layers of a temporal block are temporal self-attention."""
        role, layers = ("spatial", ("attn2",)) if kind == "cross" else ("temporal", ("attn1", "attn2"))
        names = [name for name, _ in self.unet.named_modules() if _role_of(name) == role]
        return sorted((AttentionLayer(n, kind) for n in names if n.split(".")[-1] in layers), key=_running_order)

    def record(
        self,
        sites: Sequence[AttentionLayer],
        spans: Sequence[TokenSpan] = (),
        rows: slice = slice(None),
        stop: bool = False,
        constant: Sequence[AttentionLayer] = (),
    ) -> AbstractContextManager[AttentionMaps]:
        """See ``Backbone``."""
        ordered = sorted(sites, key=_running_order)
        end = self._recomputed_layer(ordered[-1]) if stop and ordered else None
        return attention_maps.record(self.unet, ordered, spans, rows, stop, end, constant)

    def record_forward(self, x: torch.Tensor, level: NoiseLevel, text: torch.Tensor) -> None:
        """See ``Backbone``."""
        with suppress(ForwardEnded):
            self._forward(x, level.t.expand(len(x)), text)

    def _recomputed_layer(self, site: AttentionLayer) -> nn.Module | None:
        """The layer around a site, if it is recomputed in the backward pass."""
        if not self._recomputing:
            return None
        inside = (layer for layer in self._layers() if self.unet.get_submodule(site.name) in set(layer.modules()))
        return next(inside)


def _is_lora(name: str) -> bool:
    return bool({"lora_A", "lora_B"} & set(name.split(".")))


def _role_of(name: str) -> Role | None:
    """What kind of transformer a module belongs to."""
    parts = name.split(".")
    if "temp_attentions" in parts or "transformer_in" in parts:
        return "temporal"
    return "spatial" if "attentions" in parts else None


def _running_order(site: AttentionLayer) -> tuple[int, list[int], bool, str]:
    """The order of the forward pass; in a block, each spatial transformer runs before its temporal one."""
    stages = ("transformer_in", "down_blocks", "mid_block", "up_blocks")
    parts = site.name.split(".")
    numbers = [int(part) for part in parts if part.isdigit()]
    return stages.index(parts[0]), numbers, "temp_attentions" in parts, parts[-1]
