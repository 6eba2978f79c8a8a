"""Single-frame videos skip the temporal layers of a U-Net.

A photo has no motion, so with F = 1 every temporal convolution and temporal transformer returns its input unchanged.
(Stock diffusers runs them at F = 1; MotionDirector trains single frames without them, and so was the built-in base.)
The rule depends only on the number of frames, not on a mode that must be set and cleared: training the base, training
on photos and sampling cannot disagree, nor can a block recomputed under gradient checkpointing.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel


def skip_temporal_layers_at_one_frame(unet: UNet3DConditionModel) -> None:
    """Apply the single-frame rule to every temporal layer of ``unet``; idempotent.

    Weights and state dict do not change.
    """
    for module in unet.modules():
        if isinstance(module, TemporalConvLayer):
            module.forward = MethodType(_convolution_forward, module)
        elif isinstance(module, TransformerTemporalModel):
            module.forward = MethodType(_transformer_forward, module)


def _convolution_forward(self: TemporalConvLayer, hidden_states: torch.Tensor, num_frames: int = 1) -> torch.Tensor:
    # hidden_states: [B*F, C, H, W]
    if num_frames == 1:
        return hidden_states
    return TemporalConvLayer.forward(self, hidden_states, num_frames=num_frames)


def _transformer_forward(
    self: TransformerTemporalModel, hidden_states: torch.Tensor, *args: Any, num_frames: int = 1, **kwargs: Any
) -> Any:
    # hidden_states: [B*F, C, H, W]; UNet3DConditionModel calls with return_dict=False
    if num_frames == 1:
        return (hidden_states,)
    return TransformerTemporalModel.forward(self, hidden_states, *args, num_frames=num_frames, **kwargs)
