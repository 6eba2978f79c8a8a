"""Core's MODEL, CLIP and VAE of a Wan as a base of the engine (``backbone.Backbone``), to train on and to sample.

What is computed of latents, levels, heads and maps is ``WanBackbone``'s; here is what the core does instead: the
network's forward, text, pixels, and where weights are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ...videomage_core.model.backbone import MemoryMode
from ...videomage_core.model.flow_schedule import FlowSchedule
from ...videomage_core.model.latent_time import latent_frames
from ...videomage_core.model.offloading import checkpointed, patch_forward
from ...videomage_core.model.placement import PlacedParts
from ...videomage_core.model.wan import PROBE, WanBackbone
from ...videomage_core.model.wan_attention import TextContext
from ...videomage_core.model.wan_text import PaddedText
from .core_text import CorePromptEncoder
from .core_transformer import CoreTransformer

STORED = MemoryMode("stored activations", keep_weights=False)
RECOMPUTED = MemoryMode(
    "gradient checkpointing", gradient_checkpointing=True, keep_weights=False, sequential_batch=True
)


class CoreWanBackbone(WanBackbone):
    """A base that implements ``backbone.Backbone`` on core's own objects, which it leaves as they are.

    Subjects are called by trigger words: no gradient reaches the text encoder.

    Args:
        name: of the base.
        patcher: the MODEL, a ModelPatcher.
        clip: the CLIP, of type wan.
        vae: the VAE, Wan 2.1's.
        noise: levels that trainings draw from, as shares of noise: of an expert of Wan 2.2.
        probe: frames, height and width of the video by which heads are told apart.
    """

    text_gradients = False

    def __init__(
        self,
        name: str,
        patcher: Any,
        clip: Any,
        vae: Any,
        noise: tuple[float, float] = (0.0, 1.0),
        probe: tuple[int, int, int] = PROBE,
    ) -> None:
        PlacedParts.__init__(self)
        self.name, self.patcher, self.vae = name, patcher, vae
        self.transformer, self.prompts = CoreTransformer(patcher), CorePromptEncoder(clip)
        self.schedule = FlowSchedule(float(patcher.get_model_object("model_sampling").shift), noise=noise)
        self._probe, self._heads = probe, None
        self.memory, self.beside = STORED, 0

    @property
    def device(self) -> torch.device:
        """See ``Backbone``: where the core computes."""
        device: torch.device = self.patcher.load_device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """See ``Backbone``: in which the core computes, whatever the weights are stored in."""
        model = self.patcher.model
        dtype: torch.dtype = model.manual_cast_dtype or model.get_dtype()
        return dtype

    @property
    def spatial_factor(self) -> int:
        """Pixels per latent along one side."""
        return 8

    @property
    def temporal_factor(self) -> int:
        """See ``Backbone``."""
        return 4

    # --- memory, which is the core's matter

    def use_memory(self, mode: MemoryMode, device: torch.device | None = None) -> None:
        """See ``Backbone``: only what is recomputed; the core moves weights."""
        while self._undo:
            self._undo.pop()()
        self.memory, self._recomputing = mode, mode.gradient_checkpointing
        if mode.gradient_checkpointing:
            self._undo.append(patch_forward(self.checkpointed_layers(), checkpointed))

    def put_away(self) -> None:
        """See ``PlacedParts``: the core offloads what it needs room for."""

    def resident(self, mode: MemoryMode) -> list[nn.Module]:
        """See ``Backbone``: none that is ours."""
        return []

    def weights_memory(self, mode: MemoryMode) -> int:
        """See ``Backbone``; the core counts them itself."""
        return 0

    # --- pixels and text

    @torch.no_grad()
    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        """See ``Backbone``; what core's VAE Encode gives, normalised as the network takes it."""
        frames = latent_frames(pixels.shape[2], self.temporal_factor)
        images = (pixels.float().clamp(-1, 1) + 1) / 2
        videos = [self.vae.encode(video.movedim(0, -1)) for video in images]  # [3,F,h,w] -> [F,h,w,3]
        latents = self.patcher.model.process_latent_in(torch.cat(videos).float())
        return latents.to(self.device)[:, :, :frames].clone()

    @torch.no_grad()
    def decode_video(self, latents: torch.Tensor) -> torch.Tensor:
        """See ``Backbone``."""
        raw = self.patcher.model.process_latent_out(latents.float())
        videos = [self.vae.decode(one) for one in raw.split(1)]  # [1,F,h,w,3]
        return (torch.cat(videos).float().movedim(-1, 1) * 2 - 1).clamp(-1, 1).to(self.device)

    def encode_prompt(
        self, texts: Sequence[str], tokens: Sequence[Any] = (), as_superclass: bool = False
    ) -> PaddedText:
        """See ``Backbone``; without gradients."""
        encoded: PaddedText = self.prompts.encode(texts, tokens, as_superclass)
        return encoded

    # --- the network

    def _forward(self, x: torch.Tensor, t: torch.Tensor, text: PaddedText) -> torch.Tensor:
        import comfy.model_management as management

        management.load_models_gpu([self.patcher], memory_required=self.beside)
        device, dtype = self.device, self.dtype
        bias, only_real = text.bias().to(device), text.only_real().to(device)
        context = TextContext(text.embeddings.to(device, dtype), bias, only_real)
        output: torch.Tensor = self.transformer(x.to(device, dtype), t.to(device), context)
        return output.float()
