"""What lies in the folder of a Wan base, a WanPipeline in diffusers layout, checked before anything of it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..text_files import read_json_object
from .base_folder import require_multiples, weight_files
from .latent_time import latent_frames

_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_WITH_WEIGHTS = ("transformer", "vae", "text_encoder")
_EMOJI_FRAMES, _EMOJI_SIDE = 9, 48  # what emoji_wan's recipe trains on


@dataclass(frozen=True)
class WanGeometry:
    """Sizes that a base's configs say.

    Attributes:
        spatial: pixels to a latent's side.
        temporal: frames that a latent frame holds, after the first.
        patch: latents to a side of the transformer's patches.
        shift: of the noise levels.
    """

    spatial: int
    temporal: int
    patch: int
    shift: float

    @property
    def as_emoji_wan(self) -> bool:
        """Whether the base is of ``emoji_wan``'s recipe, told by its autoencoder."""
        return (self.spatial, self.temporal) == (4, 1)

    @property
    def trained_size(self) -> tuple[int, int, int] | None:
        """Frames, height and width in pixels of ``emoji_wan``'s training; None for the published models."""
        return (_EMOJI_FRAMES, _EMOJI_SIDE, _EMOJI_SIDE) if self.as_emoji_wan else None


def check_wan_folder(folder: Path) -> None:
    """Raise, before anything is loaded, if a Wan base's folder is not whole or of a kind that is not carried."""
    required = [*_PARTS, *(f"{part}/config.json" for part in _WITH_WEIGHTS), "scheduler/scheduler_config.json"]
    missing = [part for part in required if not (folder / part).exists()]
    missing += [
        f"{part}/*.safetensors (or *.bin)"
        for part in _WITH_WEIGHTS
        if (folder / part).is_dir() and not weight_files(folder / part)
    ]
    if missing:
        raise FileNotFoundError(f"base: {folder} lacks {', '.join(missing)}; copy the whole model folder again")
    index, network = read_json_object(folder / "model_index.json", "base"), _config(folder, "transformer")
    reasons = {
        "it has two experts, as Wan 2.2's 14B models": bool(index.get("boundary_ratio"))
        or bool((index.get("transformer_2") or [None])[0]),
        "it gives each place a noise level of its own, as Wan 2.2's 5B model": bool(index.get("expand_timesteps")),
        "it begins from an image": network.get("added_kv_proj_dim") is not None
        or network.get("in_channels", 16) != network.get("out_channels", 16),
        "its patches hold several frames": int(network.get("patch_size", (1, 2, 2))[0]) != 1,
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    if reason is not None:
        raise ValueError(f"base: {folder} is a Wan base, but {reason}; allowed are Wan 2.1's text-to-video models")


def wan_geometry(folder: Path) -> WanGeometry:
    """A base's sizes; older configs leave some of them out."""
    vae, schedule = _config(folder, "vae"), read_json_object(folder / "scheduler" / "scheduler_config.json", "base")
    return WanGeometry(
        vae.get("scale_factor_spatial") or 2 ** len(vae.get("temperal_downsample", (0, 0, 0))),
        vae.get("scale_factor_temporal") or 2 ** sum(vae.get("temperal_downsample", (0, 1, 1))),
        int(_config(folder, "transformer").get("patch_size", (1, 2, 2))[1]),
        float(schedule.get("flow_shift", schedule.get("shift", 1.0))),
    )


def check_wan_size(folder: Path, frames: int, height: int, width: int) -> None:
    """Raise ValueError, before anything is loaded, if a base cannot make videos of that length and size."""
    geometry = wan_geometry(folder)
    latent_frames(frames, geometry.temporal)
    require_multiples(geometry.spatial * geometry.patch, height, width)


def _config(folder: Path, part: str) -> dict[str, Any]:
    return read_json_object(folder / part / "config.json", "base")
