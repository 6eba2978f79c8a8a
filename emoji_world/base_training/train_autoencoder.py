"""Stage 1 of ``emoji_wan``: its AutoencoderKLWan, trained on single frames (see ``framewise``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify, unpatchify
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import nn

from .framewise import causal_weights, to_frames
from .linear_start import start_from_components
from .recipe import save_atomically
from .train_loop import LoopConfig, TrainLoop
from .train_vae import reconstruction_loss, to_pixels
from .wan_models import new_autoencoder

KL_WEIGHT = 1e-4  # enough to keep latents smooth, too little to blur
TEST_FRAMES = 256
COMPONENT_FRAMES = 1000


class FrameAutoencoder(nn.Module):
    """The frame-wise twin of an AutoencoderKLWan: the same names, two-dimensional convolutions."""

    def __init__(self, start: AutoencoderKLWan | None = None) -> None:
        super().__init__()
        self.inner = to_frames(start or new_autoencoder())
        self.patch = self.inner.config.patch_size

    def encode(self, pixels: torch.Tensor) -> DiagonalGaussianDistribution:
        """Latents' distribution [B, C, 1, h, w] of frames [B, 3, H, W] in -1..1."""
        x = patchify(pixels.unsqueeze(2), self.patch)
        return DiagonalGaussianDistribution(self.inner.quant_conv(self.inner.encoder(x)))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Frames [B, 3, H, W] of latents [B, C, 1, h, w]."""
        x = self.inner.decoder(self.inner.post_quant_conv(latents))
        return unpatchify(x, self.patch).squeeze(2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The training loss of frames [B, 3, H, W] in -1..1."""
        posterior = self.encode(pixels)
        output = self.decode(posterior.sample())
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return reconstruction_loss(output, pixels) + KL_WEIGHT * kl


def varied_colours(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Swap the colour channels of every other frame at random: an autoencoder should know all colours.

    Args:
        frames: uint8 [B, H, W, 3].
        rng: decides which.
    """
    varied = np.array(frames)
    for index in range(0, len(varied), 2):
        varied[index] = varied[index][..., rng.permutation(3)]
    return varied


def train_autoencoder(
    folder: Path, frames: np.ndarray, config: LoopConfig, batch: int = 8, device: str = "cpu"
) -> AutoencoderKLWan:
    """Train, or resume, the autoencoder, and set the mean and scale of its latents.

    Args:
        folder: keeps the checkpoint.
        frames: uint8 [N, H, W, 3]; the last 256 are kept for measuring.
        config: the training loop's settings.
        batch: frames per step.
        device: "cpu" or "cuda".
    """
    torch.manual_seed(0)
    start = new_autoencoder()
    start_from_components(start, to_pixels(frames[:COMPONENT_FRAMES]))
    model = FrameAutoencoder(start).to(device)
    loop = TrainLoop(model, folder / "autoencoder.pt", config)

    def loss_fn(step: int) -> torch.Tensor:
        rng = np.random.default_rng([step, 1])
        chosen = np.sort(rng.integers(len(frames) - TEST_FRAMES, size=batch))
        return model(to_pixels(varied_colours(frames[chosen], rng)).to(device))

    average = loop.run(loss_fn)
    autoencoder = new_autoencoder()
    weights = {name.removeprefix("inner."): w.cpu() for name, w in average.state_dict().items()}
    autoencoder.load_state_dict(causal_weights(weights, autoencoder))
    measure(autoencoder.eval(), to_pixels(frames[-TEST_FRAMES:]))
    state = {"weights": autoencoder.state_dict()} | {n: autoencoder.config[n] for n in ("latents_mean", "latents_std")}
    save_atomically(state, folder / "autoencoder.trained")
    return autoencoder


def trained_autoencoder(folder: Path) -> AutoencoderKLWan:
    """The autoencoder that ``train_autoencoder`` finished in this folder."""
    trained = torch.load(folder / "autoencoder.trained", weights_only=True)
    autoencoder = new_autoencoder()
    autoencoder.load_state_dict(trained["weights"])
    autoencoder.register_to_config(latents_mean=trained["latents_mean"], latents_std=trained["latents_std"])
    return autoencoder.eval()


@torch.no_grad()
def measure(autoencoder: AutoencoderKLWan, pixels: torch.Tensor) -> float:
    """Set the latents' means, and one scale for all channels; return and print the PSNR in dB.

    One scale, not one a channel: a channel that says little stays small, and counts little in the loss.

    Args:
        autoencoder: the causal one.
        pixels: frames it has not seen, [B, 3, H, W] in -1..1.
    """
    latents = autoencoder.encode(pixels.unsqueeze(2)).latent_dist.mode()  # [B,C,1,h,w]
    output = autoencoder.decode(latents).sample.squeeze(2)
    error = (output - pixels).square().mean((1, 2, 3)) / 4
    psnr = float((-10 * error.log10()).mean())
    means = latents.mean((0, 2, 3, 4))
    scale = float((latents - means.view(1, -1, 1, 1, 1)).square().mean().sqrt())
    autoencoder.register_to_config(
        latents_mean=[round(float(m), 4) for m in means], latents_std=[round(scale, 4)] * len(means)
    )
    print(f"autoencoder: {psnr:.2f} dB on unseen frames, scale {scale:.4f}", flush=True)
    return psnr
