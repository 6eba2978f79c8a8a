"""What lies in a base's folder, checked before anything of it is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from .backbone import Prediction

EMOJI_BASE = Path(__file__).parents[1] / "assets" / "emoji_base"
# As diffusers calls them: as the contract does.
PREDICTIONS: dict[str, Prediction] = {
    "epsilon": "epsilon",
    "v_prediction": "v",
}

_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTS = ("*.safetensors", "*.bin")


def check_size(folder: Path, height: int, width: int) -> None:
    """Raise ValueError, before anything is loaded, if a base cannot make videos of that size."""
    check_base_folder(folder)
    blocks = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))["block_out_channels"]
    require_multiples(2 ** (len(blocks) - 1), height, width)


def require_multiples(factor: int, height: int, width: int) -> None:
    """ValueError, with the nearest size, unless both sides are multiples of ``factor``."""
    if height % factor or width % factor or min(height, width) < factor:
        nearest = [max(factor, round(side / factor) * factor) for side in (height, width)]
        raise ValueError(
            f"size: got {height}x{width} pixels (height x width), both must be multiples of {factor}; "
            f"nearest: {nearest[0]}x{nearest[1]}"
        )


def is_base_folder(folder: Path) -> bool:
    """Whether ``folder`` holds a base that ``load_unet3d`` takes."""
    try:
        check_base_folder(folder)
    except (OSError, ValueError):
        return False
    return True


def check_base_folder(folder: Path) -> None:
    """Raise, before anything is loaded, if ``folder`` is no whole base with a UNet3DConditionModel."""
    if not folder.is_dir():
        raise FileNotFoundError(f"base: {folder} is not a folder; give one in diffusers layout ({', '.join(_PARTS)})")
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    for part, config in (("unet", "config.json"), ("vae", "config.json"), ("text_encoder", "config.json")):
        if part not in missing and not (folder / part / config).is_file():
            missing.append(f"{part}/{config}")
        if part not in missing and not any(f for pattern in WEIGHTS for f in (folder / part).glob(pattern)):
            missing.append(f"{part}/*.safetensors (or *.bin)")
    tokenizer = folder / "tokenizer"
    pieces = [name for name in ("vocab.json", "merges.txt") if not (tokenizer / name).is_file()]
    if "tokenizer" not in missing and not (tokenizer / "tokenizer.json").is_file():
        missing += [f"tokenizer/{name}" for name in pieces]
    if "scheduler" not in missing and not (folder / "scheduler" / "scheduler_config.json").is_file():
        missing.append("scheduler/scheduler_config.json")
    if missing:
        raise FileNotFoundError(f"base: {folder} lacks {', '.join(missing)}; copy the whole model folder again")
    kind = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8")).get("_class_name")
    if kind != "UNet3DConditionModel":
        raise ValueError(
            f"base: {folder}/unet is a {kind}, allowed is UNet3DConditionModel "
            "(ZeroScope v2, ModelScope text-to-video, or the embedded base)"
        )
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    if scheduler.get("rescale_betas_zero_snr"):
        raise ValueError(
            f"base: {folder}/scheduler asks for rescale_betas_zero_snr, whose first step holds no signal at all; "
            "set it to false in scheduler_config.json if the model was not trained so"
        )
    if scheduler.get("prediction_type", "epsilon") not in PREDICTIONS:
        raise ValueError(
            f"base: {folder}/scheduler predicts {scheduler['prediction_type']!r}, allowed: {', '.join(PREDICTIONS)}"
        )
