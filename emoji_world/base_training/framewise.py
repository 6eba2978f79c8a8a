"""A causal autoencoder trained frame by frame.

Only the last temporal tap of every causal convolution, the one on the present frame, is trained; the taps on
past frames are zero and stay zero.  Then encoding and decoding act on each frame alone, exactly, in any
chunks and whatever the caches hold, and training runs two-dimensional convolutions: a third of the work.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch import nn


class FrameConvolution(nn.Conv2d):
    """A causal convolution's last temporal tap, on clips [B, C, F, H, W] of one frame (F = 1)."""

    def __init__(self, source: WanCausalConv3d) -> None:
        left, _, top, _, _, _ = source._padding
        super().__init__(
            source.in_channels, source.out_channels, source.kernel_size[1:], source.stride[1:], padding=(top, left)
        )
        with torch.no_grad():
            self.weight.copy_(source.weight[:, :, -1])
            assert self.bias is not None and source.bias is not None
            self.bias.copy_(source.bias)

    def forward(self, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(x.squeeze(2)).unsqueeze(2)


def to_frames(autoencoder: AutoencoderKLWan) -> AutoencoderKLWan:
    """Replace the causal convolutions, in place, by the two-dimensional ones of their last taps."""
    for module in list(autoencoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, WanCausalConv3d):
                setattr(module, name, FrameConvolution(child))
    return autoencoder


def require_frame_wise(autoencoder: AutoencoderKLWan) -> None:
    """ValueError if a causal convolution looks at past frames."""
    for name, module in autoencoder.named_modules():
        if isinstance(module, WanCausalConv3d) and bool(module.weight[:, :, :-1].any()):
            raise ValueError(
                f"autoencoder: its {name} looks at past frames; allowed: one that acts on each frame alone, "
                "as train_autoencoder's"
            )


def causal_weights(frame_weights: dict[str, torch.Tensor], autoencoder: AutoencoderKLWan) -> dict[str, torch.Tensor]:
    """The state dict of a causal autoencoder that does with every frame what the frame-wise one does.

    Args:
        frame_weights: the state dict of an autoencoder that went through ``to_frames``.
        autoencoder: a causal one of the same settings; gives the shapes.
    """
    weights = {}
    for name, like in autoencoder.state_dict().items():
        weight = frame_weights[name]
        if like.shape != weight.shape:  # [O,I,h,w] into the last tap of [O,I,t,h,w]
            filled = torch.zeros(like.shape, dtype=weight.dtype)
            filled[:, :, -1] = weight
            weight = filled
        weights[name] = weight
    return weights
