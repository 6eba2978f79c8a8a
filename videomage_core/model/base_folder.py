"""What lies in a base's folder, checked before anything of it is loaded."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from ..file_problem import file_problem
from ..folders import entries, files_in, folders_in
from ..text_files import read_json_object
from .base_names import refuse_wan

if TYPE_CHECKING:  # the command line names bases before it needs torch
    import torch

    from .backbone import Prediction

EMOJI_BASE = Path(__file__).parents[1] / "assets" / "emoji_base"
# As diffusers calls them: as the contract does.
PREDICTIONS: dict[str, Prediction] = {
    "epsilon": "epsilon",
    "v_prediction": "v",
}

_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_WEIGHTS = (".safetensors", ".bin")
_SAFETENSORS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
_LOOKED_AT = 64  # weights
# Of diffusers' schedulers: what changes the video and is not done here.
_NOT_HONOURED = {
    "rescale_betas_zero_snr": "its first step holds no signal at all",
    "clip_sample": "latents cut to a range",
    "thresholding": "latents rescaled by their quantile",
    "use_karras_sigmas": "other noise levels",
    "use_exponential_sigmas": "other noise levels",
    "use_beta_sigmas": "other noise levels",
    "use_flow_sigmas": "flow matching",
}
_DDIM_DEFAULTS = {"clip_sample": True}  # of diffusers, where the file says nothing
_BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")


def check_size(folder: Path, height: int, width: int) -> None:
    """Raise ValueError, before anything is loaded, if a base cannot make videos of that size."""
    check_base_folder(folder)
    blocks = read_json_object(folder / "vae" / "config.json", "base")["block_out_channels"]
    require_multiples(2 ** (len(blocks) - 1), height, width)


def require_multiples(factor: int, height: int, width: int) -> None:
    """ValueError, with the nearest size, unless both sides are multiples of ``factor``."""
    if height % factor or width % factor or min(height, width) < factor:
        nearest = [max(factor, round(side / factor) * factor) for side in (height, width)]
        raise ValueError(
            f"size: got {height}x{width} pixels (height x width), both must be multiples of {factor}; "
            f"nearest: {nearest[0]}x{nearest[1]}"
        )


def base_name(folder: Path) -> str:
    """What a base is called: its folder, by the name it was given by; in a hub's cache, the model's own name."""
    folder = Path(os.path.abspath(folder))  # not resolved: a link keeps its name
    owner = folder.parent.parent.name
    if folder.parent.name == "snapshots" and owner.startswith("models--"):
        return owner.rpartition("--")[2]
    return folder.name


def weight_files(folder: Path) -> list[Path]:
    """The files of weights of one part of a base; safetensors first."""
    return [file for suffix in _WEIGHTS for file in files_in(folder, (suffix,))]


def check_weights(folder: Path, parts: Sequence[str] = ("unet", "vae", "text_encoder")) -> None:
    """ValueError for a file of weights that is something else, as a Git LFS pointer, or ends too early; reads no more
    than headers."""
    for part in parts:
        for file in weight_files(folder / part):
            if (problem := file_problem(file)) is not None:
                raise ValueError(f"base: {file} {problem}")


def stored_dtype(folder: Path) -> torch.dtype | None:
    """In which precision most of a base's denoising network is stored; None where its files do not say."""
    import torch

    network = next((folder / part for part in ("unet", "transformer") if (folder / part).is_dir()), None)
    for file in weight_files(network) if network is not None else []:
        try:
            if file.suffix.lower() == ".safetensors":
                with safe_open(file, framework="pt") as opened:
                    names = list(opened.keys())
                    stored = {opened.get_slice(name).get_dtype() for name in names[:_LOOKED_AT]}
                    kinds = {getattr(torch, _SAFETENSORS[kind]) if kind in _SAFETENSORS else None for kind in stored}
            else:
                weights = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
                kinds = {weight.dtype for weight in list(weights.values())[:_LOOKED_AT]}
        except (OSError, RuntimeError, ValueError, SafetensorError, pickle.UnpicklingError, AttributeError):
            return None
        if len(kinds) == 1:
            return kinds.pop()
    return None


def check_base_folder(folder: Path) -> None:
    """Raise, before anything is loaded, if ``folder`` is no whole base with a UNet3DConditionModel."""
    if not folder.is_dir():
        layout = f"give a folder in diffusers layout ({', '.join(_PARTS)})"
        if folder.is_file():
            raise ValueError(f"base: {folder} is a file; {layout}, not a single checkpoint")
        raise FileNotFoundError(f"base: {folder} is not a folder; {layout}")
    refuse_wan(folder)
    missing = _missing(folder)
    if missing:
        raise FileNotFoundError(f"base: {folder} lacks {', '.join(missing)}; {_instead(folder)}")
    kind = read_json_object(folder / "unet" / "config.json", "base").get("_class_name")
    if kind != "UNet3DConditionModel":
        raise ValueError(
            f"base: {folder}/unet is a {kind}, allowed is UNet3DConditionModel "
            "(ZeroScope v2, ModelScope text-to-video, or the built-in base)"
        )
    _check_scheduler(folder / "scheduler" / "scheduler_config.json")


def _missing(folder: Path) -> list[str]:
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    for part in ("unet", "vae", "text_encoder"):
        if part not in missing and not (folder / part / "config.json").is_file():
            missing.append(f"{part}/config.json")
        if part not in missing and not weight_files(folder / part):
            missing.append(f"{part}/*.safetensors (or *.bin)")
    tokenizer = folder / "tokenizer"
    pieces = [name for name in ("vocab.json", "merges.txt") if not (tokenizer / name).is_file()]
    if "tokenizer" not in missing and not (tokenizer / "tokenizer.json").is_file():
        missing += [f"tokenizer/{name}" for name in pieces]
    if "scheduler" not in missing and not (folder / "scheduler" / "scheduler_config.json").is_file():
        missing.append("scheduler/scheduler_config.json")
    return missing


def _instead(folder: Path) -> str:
    """What to give instead of a folder that is no whole base."""
    there = entries(folder)
    if (folder / "snapshots").is_dir() and (snapshots := folders_in(folder / "snapshots")):
        return f"it is a hub's cache of the model; give {' or '.join(map(str, snapshots))}"
    models = [path.name for path in there if path.name.startswith("models--")]
    if models:
        return f"it is a hub's cache; give {folder / models[0] / 'snapshots'}/<hash>, or another of its models'"
    bare = sorted({path.suffix.lower() for path in there if path.suffix.lower() in (".pth", ".pt", ".ckpt")})
    if bare or any(path.suffix.lower() == ".safetensors" for path in there):
        return (
            f"it holds a single checkpoint ({', '.join(bare) or '.safetensors'}, as ModelScope's first release), which "
            "is not read; give the same model in diffusers layout, e.g. damo-vilab/text-to-video-ms-1.7b or "
            "cerspense/zeroscope_v2_576w on Hugging Face"
        )
    within = [path for path in there if path.is_dir() and (path / "unet").is_dir()]
    if within:
        return f"a base lies in it; give {within[0]}"
    return "copy the whole model folder again"


def _check_scheduler(path: Path) -> None:
    """ValueError for unsupported scheduler settings, which would silently change the videos."""
    config = read_json_object(path, "base")
    settings = {**_DDIM_DEFAULTS, **config} if config.get("_class_name") == "DDIMScheduler" else config
    unsupported = [f"{name} ({effect})" for name, effect in _NOT_HONOURED.items() if settings.get(name)]
    if unsupported:
        raise ValueError(
            f"base: {path} uses {', '.join(unsupported)}, which VideoMage does not support; set it to false there if "
            "the model was not trained with it"
        )
    if "FlowMatch" in str(config.get("_class_name")):
        raise ValueError(f"base: {path} is a {config['_class_name']}; UNet3DConditionModel bases predict epsilon or v")
    choices = {"prediction_type": PREDICTIONS, "timestep_spacing": ("leading",), "beta_schedule": _BETAS}
    for name, allowed in choices.items():
        if config.get(name, next(iter(allowed))) not in allowed:
            raise ValueError(f"base: {path} has {name} {config[name]!r}, allowed: {', '.join(allowed)}")
