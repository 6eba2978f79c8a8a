"""Where the autoencoder's training begins: at the principal components of the 4x4 patches of pixels.

Started at random, a thousand steps later it is still blurred; sixteen principal components alone give
about 30 dB.  So the weights are set to them: the first and last convolutions' centre taps carry each
component c as a pair +c, -c, for silu(c) - silu(-c) = c; a large constant channel makes the
normalisation before it all but a constant factor; and all blocks between begin as the identity.  The other
channels begin at random and are there for what is not linear.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanAttentionBlock,
    WanCausalConv3d,
    WanResidualBlock,
    patchify,
)
from torch import nn

CONSTANT = 40.0  # of the channel that fixes the norm
LOG_VARIANCE = -7.0  # of the posterior; latents have about unit variance


@torch.no_grad()
def start_from_components(autoencoder: AutoencoderKLWan, pixels: torch.Tensor) -> None:
    """Set the weights, in place.

    Args:
        autoencoder: whose patches are all of its compression: one level, no downsampling.
        pixels: frames to take the components of, [B, 3, H, W] in -1..1.
    """
    if len(autoencoder.config.dim_mult) != 1:
        raise ValueError(f"dim_mult: got {autoencoder.config.dim_mult}, allowed: one level, such as [1]")
    for module in autoencoder.modules():
        if isinstance(module, WanResidualBlock):
            _zero(module.conv2)
        elif isinstance(module, WanAttentionBlock):
            _zero(module.proj)
    mean, components, scales = principal_components(pixels, autoencoder.config.patch_size, autoencoder.z_dim)
    encoder, decoder, latents = autoencoder.encoder, autoencoder.decoder, autoencoder.z_dim
    analysis = components / scales[:, None]  # [C,48]: latent = analysis @ (patch - mean)
    gain = CONSTANT / encoder.conv_in.out_channels**0.5  # undoes the norm
    _carry_pairs(encoder.conv_in, analysis, -(analysis @ mean))
    _read_pairs(encoder.conv_out, torch.eye(latents) * gain)
    encoder.conv_out.bias[latents:] = LOG_VARIANCE
    _pass_through(autoencoder.quant_conv)
    _pass_through(autoencoder.post_quant_conv)
    _carry_pairs(decoder.conv_in, torch.eye(latents), torch.zeros(latents))
    _read_pairs(decoder.conv_out, (components * scales[:, None]).T * gain)
    decoder.conv_out.bias.copy_(mean)


def principal_components(
    pixels: torch.Tensor, patch: int, count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean [P], the first ``count`` components [C, P] of patches, and what to divide each by [C].

    A coefficient is divided by the root of its standard deviation: coarse ones stay larger than fine
    ones, yet not as much larger as in pixels.
    """
    patches = patchify(pixels.unsqueeze(2), patch).squeeze(2).movedim(1, -1).flatten(0, 2)  # [B*h*w,P]
    mean = patches.mean(0)
    _, values, components = torch.linalg.svd(patches - mean, full_matrices=False)
    deviations = values[:count] / np.sqrt(len(patches))
    roots = deviations.sqrt()
    return mean, components[:count], roots * (deviations / roots).square().mean().sqrt()


def _zero(convolution: nn.Module) -> None:
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)


def _carry_pairs(convolution: WanCausalConv3d, rows: torch.Tensor, offset: torch.Tensor) -> None:
    """Channels 0..C-1 carry ``rows`` @ x + ``offset``, the next C its negative, the next a constant."""
    count = len(rows)
    weight, bias = convolution.weight, convolution.bias
    weight[: 2 * count + 1] = 0
    weight[: 2 * count, :, -1, 1, 1] = torch.cat([rows, -rows])
    bias[: 2 * count + 1] = torch.cat([offset, -offset, torch.tensor([CONSTANT])])


def _read_pairs(convolution: WanCausalConv3d, matrix: torch.Tensor) -> None:
    """The first outputs are ``matrix`` [O, C] times the differences of the pairs; nothing else counts."""
    outputs, count = matrix.shape
    _zero(convolution)
    convolution.weight[:outputs, : 2 * count, -1, 1, 1] = torch.cat([matrix, -matrix], dim=1)


def _pass_through(convolution: WanCausalConv3d) -> None:
    _zero(convolution)
    convolution.weight[:, :, 0, 0, 0] = torch.eye(convolution.out_channels)
