"""Text to video, plain, by a Wan base in a diffusers folder: ``diffusers.WanPipeline`` and nothing of the method.

LoRAs, trainings and collaborative sampling do not take such a base yet.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..callbacks import Callbacks, Cancelled
from ..config import SamplingConfig
from ..text_files import read_json_object
from .base_folder import require_multiples
from .loading import choose_device

# emoji_wan's recipe trains on 9 frames of 48x48 pixels; its steps and guidance are ours.
EMOJI_WAN_SAMPLING = SamplingConfig(frames=9, height=48, width=48, steps=25, guidance_scale=4.0)
# Wan 2.1's own, as WanPipeline's defaults and its authors' example.
WAN_SAMPLING = SamplingConfig(frames=81, height=480, width=832, fps=16.0, steps=50, guidance_scale=5.0)
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")


def wan_sampling(folder: Path) -> SamplingConfig:
    """The settings that suit a Wan base: those of ``emoji_wan`` for one of its recipe, told by its autoencoder."""
    _check_parts(folder)
    return EMOJI_WAN_SAMPLING if _geometry(folder)[1:] == (4, 1) else WAN_SAMPLING


def check_wan_request(folder: Path, config: SamplingConfig) -> None:
    """Raise, before anything is loaded, if parts are missing or the base cannot make videos of that size."""
    _check_parts(folder)
    _, spatial, temporal = _geometry(folder)
    if (config.frames - 1) % temporal:
        below = (config.frames - 1) // temporal * temporal + 1
        raise ValueError(
            f"frames: got {config.frames}, this base makes 1 more than a multiple of {temporal}; "
            f"nearest: {below} and {below + temporal}"
        )
    require_multiples(spatial * _patch(folder), config.height, config.width)


def _check_parts(folder: Path) -> None:
    needed = [*_PARTS, "transformer/config.json", "vae/config.json"]
    missing = [part for part in needed if not (folder / part).exists()]
    if missing:
        raise FileNotFoundError(f"base: {folder} lacks {', '.join(missing)}; copy the whole model folder again")


def _geometry(folder: Path) -> tuple[int, int, int]:
    """Latent channels, and the pixels and frames that one latent place stands for; older configs leave them out."""
    vae = _config(folder, "vae")
    return (
        vae.get("z_dim", 16),
        vae.get("scale_factor_spatial") or 2 ** len(vae.get("temperal_downsample", (0, 0, 0))),
        vae.get("scale_factor_temporal") or 2 ** sum(vae.get("temperal_downsample", (0, 1, 1))),
    )


def _patch(folder: Path) -> int:
    return int(_config(folder, "transformer").get("patch_size", (1, 2, 2))[1])


def _config(folder: Path, part: str) -> dict[str, Any]:
    return read_json_object(folder / part / "config.json", "base")


def sample_wan(
    folder: Path,
    prompt: str,
    seed: int,
    config: SamplingConfig,
    dtype: str = "auto",
    device: str = "auto",
    callbacks: Callbacks | None = None,
) -> torch.Tensor:
    """A video [3, F, H, W] in -1..1 of a prompt.

    Args:
        folder: of a WanPipeline.
        prompt: what to show.
        seed: same seed, same video.
        config: size, steps, guidance.
        dtype: "auto", "fp32", "fp16" or "bf16".
        device: "auto" or a torch device.
        callbacks: progress and cancellation.
    """
    callbacks = callbacks or Callbacks()
    check_wan_request(folder, config)
    where = choose_device(device)
    kind = _dtype(dtype, where)
    with _quiet_libraries():
        return _sample(folder, prompt, seed, config, kind, where, callbacks)


def _sample(
    folder: Path,
    prompt: str,
    seed: int,
    config: SamplingConfig,
    dtype: torch.dtype,
    device: torch.device,
    callbacks: Callbacks,
) -> torch.Tensor:
    from diffusers import WanPipeline

    pipeline = WanPipeline.from_pretrained(folder, local_files_only=True, torch_dtype=dtype).to(device)
    pipeline.vae.to(torch.float32)  # Wan's autoencoder is meant for it
    pipeline.set_progress_bar_config(disable=True)
    channels, spatial, temporal = _geometry(folder)
    # Given, not asked for: at temporal factor 1 WanPipeline's own rounding adds a frame.
    shape = (1, channels, (config.frames - 1) // temporal + 1, config.height // spatial, config.width // spatial)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)

    def after_step(_: Any, step: int, __: Any, values: dict[str, Any]) -> dict[str, Any]:
        callbacks.progress(step + 1, config.steps, "sampling")
        if callbacks.cancelled():
            raise Cancelled
        return values

    made = pipeline(
        prompt=prompt,
        negative_prompt=config.negative_prompt,
        height=config.height,
        width=config.width,
        num_frames=config.frames if temporal > 1 else config.frames - 1,
        num_inference_steps=config.steps,
        guidance_scale=config.guidance_scale,
        latents=noise,
        output_type="pt",
        callback_on_step_end=after_step,
    )
    return made.frames[0].float().cpu().transpose(0, 1) * 2 - 1  # [F,3,H,W] -> [3,F,H,W]


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Without their bars, and without the warnings that latents given by us make pointless."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    level, bars = of_diffusers.get_verbosity(), of_transformers.is_progress_bar_enabled()
    of_diffusers.set_verbosity_error()
    of_diffusers.disable_progress_bar()
    of_transformers.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch_dtype.*", category=FutureWarning)
            yield
    finally:
        of_diffusers.set_verbosity(level)
        of_diffusers.enable_progress_bar()
        if bars:
            of_transformers.enable_progress_bar()


def _dtype(name: str, device: torch.device) -> torch.dtype:
    """ "auto" is fp32 on a CPU, and elsewhere bf16, which Wan was trained in."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in _DTYPES:
        raise ValueError(f"dtype: got {name!r}, allowed: 'auto', {', '.join(map(repr, _DTYPES))}")
    return _DTYPES[name]


def plain_config(config: Any) -> SamplingConfig:
    """The plain part of a larger config."""
    return SamplingConfig(**{f.name: getattr(config, f.name) for f in dataclasses.fields(SamplingConfig)})
