"""The parts of ``emoji_wan``: the architecture of Wan 2.1, made small, in diffusers' and transformers' own classes.

Heads stay 128 wide and latents stay 16 channels deep, as ComfyUI's own Wan code expects them.
"""

from __future__ import annotations

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

LATENT_CHANNELS = 16
PIXELS_PER_LATENT = 4  # spatially; in time, one latent frame per frame
FRAMES = 9  # 4n+1: the autoencoder takes the first frame, then four at a time
TEXT_LENGTH = 512  # what WanPipeline pads prompts to
TEXT_WIDTH = 128
FLOW_SHIFT = 3.0  # Wan 2.1's at low resolutions
TRAIN_TIMESTEPS = 1000


def new_transformer() -> WanTransformer3DModel:
    """2 heads of 128, 8 layers, about 9.5 million parameters."""
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=128,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=256,
        ffn_dim=1024,
        num_layers=8,
    )
    nn.init.zeros_(transformer.proj_out.weight)  # the first prediction is zero, not noise
    return transformer


def new_autoencoder() -> AutoencoderKLWan:
    """Spatial factor 4 by patches of 4x4 pixels, which all layers work on; no factor in time."""
    return AutoencoderKLWan(
        base_dim=80,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1],
        num_res_blocks=1,
        temperal_downsample=[],  # diffusers' spelling
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
        in_channels=3 * PIXELS_PER_LATENT**2,
        out_channels=3 * PIXELS_PER_LATENT**2,
        patch_size=PIXELS_PER_LATENT,
        scale_factor_temporal=1,
        scale_factor_spatial=PIXELS_PER_LATENT,
    )


def new_text_encoder(vocabulary_size: int) -> UMT5EncoderModel:
    """A UMT5 encoder of 3 layers, each with relative positions of its own, as UMT5's.

    Args:
        vocabulary_size: number of tokens.
    """
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary_size,
            d_model=TEXT_WIDTH,
            d_kv=32,
            d_ff=256,
            num_layers=3,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            relative_attention_max_distance=64,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
            use_cache=False,
        )
    )


def new_scheduler() -> UniPCMultistepScheduler:
    """Wan 2.1's: UniPC on flow-matching noise levels with a shift."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=FLOW_SHIFT,
        num_train_timesteps=TRAIN_TIMESTEPS,
    )
