"""Stage 1 of the built-in base: an AutoencoderKL from 48x48 pixels to 12x12 latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from .cosine_loop import autocast, fit
from .recipe import save_atomically

LATENT_CHANNELS = 6
KL_WEIGHT = 1e-4  # enough to keep latents smooth, too little to blur


def new_vae() -> AutoencoderKL:
    """The built-in base's autoencoder: spatial factor 4, about a million parameters."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=48,
    )


def to_pixels(frames: np.ndarray) -> torch.Tensor:
    """uint8 [B, H, W, 3] -> float [B, 3, H, W] in -1..1."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 + MSE, and L1 of the differences between neighbours, which keeps edges sharp."""
    error = output.float() - target
    edges = (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()) / 2
    return error.abs().mean() + error.square().mean() + edges


def train_vae(folder: Path, frames: np.ndarray, steps: int, batch: int = 16, device: str = "cpu") -> AutoencoderKL:
    """Train, or resume, the autoencoder; its scaling factor makes latents of unit variance.

    Args:
        folder: keeps the checkpoint.
        frames: uint8 [N, H, W, 3]; the last 256 are kept for measuring.
        steps: optimiser steps in all.
        batch: frames per step.
        device: "cpu" or "cuda".
    """
    where = torch.device(device)
    vae = new_vae().to(where)

    def loss_fn(step: int) -> torch.Tensor:
        chosen = np.random.default_rng(step).integers(len(frames) - 256, size=batch)
        pixels = to_pixels(frames[chosen]).to(where)
        with autocast(where):
            posterior = vae.encode(pixels).latent_dist
            output = vae.decode(posterior.sample()).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return reconstruction_loss(output, pixels) + KL_WEIGHT * kl

    trained = fit(vae, loss_fn, folder / "vae.pt", steps, learning_rate=2e-3)
    measure(trained, to_pixels(frames[-256:]).to(where))
    save_atomically(
        {"weights": trained.state_dict(), "scaling_factor": trained.config.scaling_factor}, folder / "vae.trained"
    )
    return trained


def trained_vae(folder: Path) -> AutoencoderKL:
    """The autoencoder that ``train_vae`` finished in this folder."""
    trained = torch.load(folder / "vae.trained", weights_only=True)
    vae = new_vae()
    vae.load_state_dict(trained["weights"])
    vae.register_to_config(scaling_factor=trained["scaling_factor"])
    return vae.eval()


def measure(trained: AutoencoderKL, pixels: torch.Tensor) -> None:
    """Set the scaling factor that gives latents unit variance; print the reconstruction's PSNR.

    Args:
        trained: the autoencoder.
        pixels: frames it has not seen, [B, 3, H, W] in -1..1.
    """
    with torch.no_grad():
        posterior = trained.encode(pixels).latent_dist
        error = (trained.decode(posterior.mode()).sample - pixels).square().mean((1, 2, 3)) / 4
    trained.register_to_config(scaling_factor=round(1 / float(posterior.mode().std()), 4))
    print(f"vae: {float((-10 * error.log10()).mean()):.2f} dB on unseen frames, scale {trained.config.scaling_factor}")
