"""Stages 2 and 3 of the built-in base: the text encoder and the U-Net, on stills, then on clips.

Both stages learn epsilon prediction on cached latents.  Stills pass the U-Net as one-frame
videos, without its temporal layers (``videomage_core/model/single_frame.py``); clips pass all of it.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import nn
from transformers import BatchEncoding, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from videomage_core.model.single_frame import skip_temporal_layers_at_one_frame

from ..world.scene import Scene
from ..world.small_dataset import Dataset, training_caption
from .cosine_loop import autocast, fit
from .train_vae import LATENT_CHANNELS, to_pixels

TEXT_WIDTH = 96
CLOCK_WEIGHT, READER_WEIGHT = 0.02, 0.02
FIRST_LEVEL = 950  # sampling begins above this timestep, with 20 steps or more


class TextToVideo(nn.Module):
    """Text encoder and U-Net, trained together."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=TEXT_WIDTH,
                intermediate_size=4 * TEXT_WIDTH,
                num_hidden_layers=3,
                num_attention_heads=4,
                max_position_embeddings=77,
                projection_dim=TEXT_WIDTH,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        self.unet = new_unet()
        self.clock = Clock(self.unet)
        self.reader = Reader(len(tokenizer))

    def without_fused_attention(self) -> None:
        """At these lengths PyTorch's fused attention is 4 to 8 times slower in a CPU's backward pass."""
        self.unet.set_attn_processor(AttnProcessor())
        self.text_encoder.set_attn_implementation("eager")


class Reader(nn.Module):
    """A probe that reads each word off the text encoder's output in its place; not part of the base.

    Words that the U-Net does not tell apart yet, like "left" and "right", would be encoded alike, and
    then it never learns to: of two things that need each other, each waits for the other.
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.probe = nn.Linear(TEXT_WIDTH, words)

    def error(self, text: torch.Tensor, ids: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of the words [B, T] read off ``text`` [B, T, D], where ``attended`` [B, T] is 1."""
        read = self.probe(text.float()).transpose(1, 2)  # [B,T,V] -> [B,V,T]
        errors = nn.functional.cross_entropy(read, ids, reduction="none")
        return (errors * attended).sum() / attended.sum()


class Clock(nn.Module):
    """Probes that read a frame's place in time off what each temporal convolution puts out; not part of the base.

    Temporal attention knows no order, and convolutions know it by the clip's ends alone.  Rising is falling
    backwards: which it is depends on text and time at once, and training on noise alone hardly ever finds
    that.  Asked to tell the time, the convolutions learn to, and text then has something to act on.
    """

    def __init__(self, unet: UNet3DConditionModel) -> None:
        super().__init__()
        convolutions = [module for module in unet.modules() if isinstance(module, TemporalConvLayer)]
        self.probes = nn.ModuleList(nn.Linear(module.in_dim, 1) for module in convolutions)
        self.seen: dict[int, torch.Tensor] = {}  # by the probe's number, what its layer put out last
        for number, module in enumerate(convolutions):
            module.register_forward_hook(partial(self._see, number))

    def _see(self, number: int, _: nn.Module, __: tuple, output: torch.Tensor) -> None:
        self.seen[number] = output

    def error(self, frames: int) -> torch.Tensor:
        """Mean squared error of the time, -1 to 1, read off the last forward, of clips of so many frames."""
        time = torch.linspace(-1, 1, frames).view(1, frames, 1, 1)
        errors = []
        for number, output in self.seen.items():
            features = output.float().unflatten(0, (-1, frames)).movedim(2, -1)  # [B*F,C,h,w] -> [B,F,h,w,C]
            read = self.probes[number](nn.functional.layer_norm(features, features.shape[-1:])).squeeze(-1)
            errors.append((read - time.to(read)).square().mean())
        self.seen.clear()
        return torch.stack(errors).mean()


def new_unet() -> UNet3DConditionModel:
    """ZeroScope's architecture, made small: two resolutions, 12x12 and 6x6, about five million parameters."""
    unet = UNet3DConditionModel(
        sample_size=12,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=16,
        norm_num_groups=16,
    )
    skip_temporal_layers_at_one_frame(unet)
    for module in unet.modules():
        if isinstance(module, TransformerTemporalModel):  # clips begin where stills left off
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
    return unet.eval()  # its temporal convolutions hold dropout: never wanted here


def noise_schedule() -> DDIMScheduler:
    """ZeroScope's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


@torch.no_grad()
def encode(vae: AutoencoderKL, data: Dataset, batch: int = 256) -> torch.Tensor:
    """Scaled latents of a data set, fp16 [N, C, F, 12, 12]."""
    count, frames = data.pixels.shape[:2]
    flat = data.pixels.reshape(-1, *data.pixels.shape[2:])
    parts = []
    for start in range(0, len(flat), batch):
        with autocast(vae.device):
            mode = vae.encode(to_pixels(flat[start : start + batch]).to(vae.device)).latent_dist.mode()
        parts.append((mode.float() * vae.config.scaling_factor).half().cpu())
    latents = torch.cat(parts).unflatten(0, (count, frames))  # [N*F,C,h,w] -> [N,F,C,h,w]
    return latents.transpose(1, 2).contiguous()  # -> [N,C,F,h,w]


def noisy_times(batch: int) -> torch.Tensor:
    """Times in [0, 1), [B]: half of them from all, drawn towards the noisy end, half from the noisiest tenth.

    Which way a clip goes, frames still tell where only a few per cent of signal are left; text has
    to tell it in the noisiest steps alone, and is learned there alone.
    """
    u = (torch.arange(batch) + torch.rand(batch)) / batch  # one from each of B equal parts
    anywhere = 1 - (1 - (2 * u) % 1) ** 1.5
    return torch.where(u < 0.5, anywhere, 0.9 + 0.1 * ((2 * u) % 1))


def begins_from_noise(t: torch.Tensor, still: bool) -> torch.Tensor:
    """Which samples of a batch, bool [B], are shown pure noise, as sampling is at its first level.

    Half of the noisiest are.  This schedule never reaches pure noise: even its last step holds enough of a
    clip to tell which way it goes, so that text need not be asked, and a sampled clip, begun from nothing,
    goes either way (cf. Lin et al., Common Diffusion Noise Schedules and Sample Steps Are Flawed, 2024).
    """
    return (t >= FIRST_LEVEL) & (torch.rand(len(t)) < 0.5) & (not still)


def motion_weights(scenes: list[Scene]) -> np.ndarray:
    """Probabilities [N] that show every motion as often as any other: as drawn, interactions come twice as often.

    Empty scenes, which have no motion, keep the share they have.
    """
    counts = Counter(scene.motion for scene in scenes if scene.characters)
    moving = sum(counts.values()) / len(counts)
    return np.array([moving / counts[scene.motion] if scene.characters else 1 for scene in scenes]) / len(scenes)


def loss_weights(alpha_bar: torch.Tensor) -> torch.Tensor:
    """Weights [B] that count an error in the clean clip alike at every noise level, within 1 to 10.

    In noise prediction it counts by its share of signal over noise: next to nothing where text decides.
    """
    return ((1 - alpha_bar) / alpha_bar).clamp(1, 10)


def training_loss(
    model: TextToVideo, alphas_cumprod: torch.Tensor, x0: torch.Tensor, tokens: BatchEncoding
) -> torch.Tensor:
    """The weighted diffusion loss (Eq. 1), with both probes' errors.

    Args:
        model: text encoder and U-Net.
        alphas_cumprod: alpha_bar of each timestep, [1000].
        x0: scaled latents [B, C, F, h, w]; stills, of one frame, leave the clock out.
        tokens: of the captions, with their mask, [B, T].
    """
    where, still = x0.device, x0.shape[2] == 1
    t = (noisy_times(len(x0)) * len(alphas_cumprod)).long()
    blank = begins_from_noise(t, still).view(-1, 1, 1, 1, 1).to(where)
    t = t.to(where)
    noise = torch.randn_like(x0)
    alpha_bar = alphas_cumprod[t].view(-1, 1, 1, 1, 1)
    x_t = torch.where(blank, noise, alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise)
    eps = (x_t - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()  # what was added, were x0 the clean clip
    with autocast(where):
        ids = tokens.input_ids.to(where)
        text = model.text_encoder(ids)[0]  # [B,T,D]
        output = model.unet(x_t, t, text).sample
    errors = (output.float() - eps).square().mean(dim=(1, 2, 3, 4))  # [B]
    weights = loss_weights(alphas_cumprod[t])
    loss = (weights * errors).sum() / weights.sum()
    loss = loss + READER_WEIGHT * model.reader.error(text, ids, tokens.attention_mask.to(where))
    if still:
        model.clock.seen.clear()
        return loss
    return loss + CLOCK_WEIGHT * model.clock.error(x0.shape[2])


def train_unet(
    name: str,
    checkpoint: Path,
    parts: list[tuple[Dataset, torch.Tensor, int]],
    tokenizer: CLIPTokenizer,
    steps: int,
    learning_rate: float = 1e-3,
    start: dict | None = None,
    device: str = "cpu",
) -> TextToVideo:
    """Train, or resume, text encoder and U-Net.

    Args:
        name: for the log.
        checkpoint: where the state is kept.
        parts: (data, its latents, batch size); steps take the parts by turns.
        tokenizer: the base's tokenizer.
        steps: optimiser steps in all.
        learning_rate: peak of the cosine schedule.
        start: a state dict of ``TextToVideo`` to begin from.
        device: "cpu" or "cuda".
    """
    where = torch.device(device)
    torch.manual_seed(0)
    model = TextToVideo(tokenizer).to(where)
    if where.type == "cpu":
        model.without_fused_attention()
    alphas_cumprod = noise_schedule().alphas_cumprod.to(where)
    chances = [motion_weights(data.scenes) for data, _, _ in parts]

    def loss_fn(step: int) -> torch.Tensor:
        rng = np.random.default_rng([step, 3])
        data, latents, batch = parts[step % len(parts)]
        chosen = rng.choice(len(latents), size=batch, p=chances[step % len(parts)])
        texts = [training_caption(data.scenes[i], rng, latents.shape[2] == 1) for i in chosen]
        tokens = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        return training_loss(model, alphas_cumprod, latents[torch.from_numpy(chosen)].float().to(where), tokens)

    print(f"{name}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f}M parameters", flush=True)
    return cast(TextToVideo, fit(model, loss_fn, checkpoint, steps, learning_rate, ema_decay=0.9985, start=start))
