"""A motion clip's inverted noise: what SCS starts from, in part (Sec. 7.1); computed once and kept."""

from __future__ import annotations

from pathlib import Path

import torch

from ..cache_key import cache_key
from ..callbacks import Callbacks
from ..config import SamplingConfig
from ..data.augmentation import resize_clip
from ..data.tensor_cache import cached_tensor
from ..model import lora
from ..model.backbone import Backbone
from ..model.fingerprint import fingerprint
from ..sampling import invert

VERSION = 1  # raised when the same inputs give other noise


def invert_clip(
    backbone: Backbone,
    pixels: torch.Tensor,
    config: SamplingConfig,
    folder: Path | None = None,
    callbacks: Callbacks | None = None,
) -> torch.Tensor:
    """eps_m, the DDIM-inverted noise of a clip under the bare base.

    The paper does not say how (ours, as MotionDirector): with the empty prompt, no LoRA, guidance scale 1.  A clip
    of another length or size is fitted to the video: frames are chosen evenly and cropped.

    Args:
        backbone: the base; its active LoRAs are ignored.
        pixels: the clip [3, F, H, W] in -1..1.
        config: the video's frames and size, and the inversion steps.
        folder: caches the noise; None: no cache.
        callbacks: progress and cancel.

    Returns:
        [1, C, F, h, w] on the CPU.
    """
    callbacks = callbacks or Callbacks()
    backbone.latent_shape(config.frames, config.height, config.width)
    fitted = resize_clip(pixels, config.frames, config.height, config.width)
    key = cache_key("inverted", VERSION, fingerprint(backbone.network), fitted, config.ddim_inversion_steps)
    path = folder / f"inverted-{key}.safetensors" if folder is not None else None

    def make() -> torch.Tensor:
        with torch.no_grad():
            text = backbone.encode_prompt([""])
        with lora.use_adapters(backbone, {}):
            return invert(
                backbone, backbone.encode_video(fitted[None]), text, config.ddim_inversion_steps, callbacks=callbacks
            )

    return cached_tensor(path, make, callbacks)
