"""With one frame the temporal layers are not passed; with more they are."""

from __future__ import annotations

import copy

import torch
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel

from videomage_core.model.single_frame import skip_temporal_layers_at_one_frame


def temporal_attention_layers(unet) -> list[torch.nn.Module]:
    return [m for m in unet.modules() if isinstance(m, (TemporalConvLayer, TransformerTemporalModel))]


def disturbed(base):
    """A copy of the U-Net whose temporal layers hold other weights."""
    unet = copy.deepcopy(base.unet)
    with torch.no_grad():
        for layer in temporal_attention_layers(unet):
            for weight in layer.parameters():
                weight.add_(0.1)
    return unet


def test_one_frame_does_not_depend_on_temporal_weights_and_a_clip_does(emoji_base, latents):
    unet, text = disturbed(emoji_base), emoji_base.encode_prompt(["a dog"])
    one = latents[:, :, :1]
    with torch.no_grad():
        assert torch.equal(unet(one, 500, text).sample, emoji_base.unet(one, 500, text).sample)
        assert not torch.allclose(unet(latents, 500, text).sample, emoji_base.unet(latents, 500, text).sample)


def test_a_clip_passes_the_stock_layers(emoji_base, latents):
    stock, text = copy.deepcopy(emoji_base.unet), emoji_base.encode_prompt(["a dog"])
    for layer in temporal_attention_layers(stock):
        del layer.forward  # the class's own again
    with torch.no_grad():
        assert torch.equal(stock(latents, 500, text).sample, emoji_base.unet(latents, 500, text).sample)


def test_applying_the_rule_twice_changes_nothing(emoji_base, latents):
    unet, text = copy.deepcopy(emoji_base.unet), emoji_base.encode_prompt(["a dog"])
    skip_temporal_layers_at_one_frame(unet)
    with torch.no_grad():
        for x in (latents, latents[:, :, :1]):
            assert torch.equal(unet(x, 500, text).sample, emoji_base.unet(x, 500, text).sample)
