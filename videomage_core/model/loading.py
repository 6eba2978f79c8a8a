"""Load a base of ZeroScope's kind from a diffusers folder: precision, device and memory mode as asked for."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..distributed import process_device
from .base_folder import EMOJI_BASE, base_name, check_base_folder, check_weights, stored_dtype, weight_files
from .memory import Workload, check_mode, choose_mode, free_memory
from .text import PromptEncoder, SpecialToken
from .unet3d import UNet3DBackbone

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def load_unet3d(
    folder: str | Path = EMOJI_BASE,
    dtype: str = "auto",
    device: str = "auto",
    memory: str = "high",
    workloads: Sequence[Workload] = (),
) -> UNet3DBackbone:
    """Load a base from a folder in diffusers layout.

    Args:
        folder: holds ``unet vae text_encoder tokenizer scheduler``; weights as safetensors or
            ``.bin``, which is read with ``weights_only``.  Nothing is downloaded.
        dtype: "fp32", "fp16", "bf16"; "auto" is fp32 on a CPU, and on a GPU bf16 for a base that is stored so, for all
            others fp16, which is 8 times finer.  In bf16 the autoencoder stays in fp32, to avoid banding.
        device: a torch device; "auto": a GPU if there is one.
        memory: "high", "medium", "low" (``memory.py``); "auto" is the first in which the workloads fit.
        workloads: to fit, from ``workloads_for(config)``.

    Raises:
        FileNotFoundError: no such folder, or parts of the base are missing; the message names them.
        ValueError: the folder holds another kind of model or a broken file, or dtype, device or memory is unknown.
    """
    folder = Path(folder)
    where = choose_device(device)
    require_dtype(dtype)
    check_mode(memory)
    check_base_folder(folder)
    check_weights(folder)
    chosen = choose_dtype(dtype, where, folder)
    seen = torch.float32 if chosen == torch.bfloat16 else chosen

    # slow to import, and not needed to refuse a wrong folder
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from transformers import CLIPTextModel

    with _without_progress_bars():
        backbone = UNet3DBackbone(
            base_name(folder),
            _load_weights(UNet3DConditionModel, folder / "unet", chosen),
            _load_weights(AutoencoderKL, folder / "vae", seen),
            _load_weights(CLIPTextModel, folder / "text_encoder", chosen),
            _load_tokenizer(folder),
            DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True),
        )
    backbone.use_memory(choose_mode(memory, backbone, workloads, free_memory(where)), where)
    return backbone


def _load_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    tokenizer.model_max_length = min(tokenizer.model_max_length, 77)  # a missing setting means infinity
    return tokenizer


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Small files load in a blink; transformers' own bar for each would only litter the terminal."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def check_prompt(folder: Path, text: str, tokens: Sequence[SpecialToken] = ()) -> None:
    """Raise ValueError, before any weights are loaded, if a base cannot read a prompt.

    It may be too long, or name a special token that is not among ``tokens``.
    """
    check_base_folder(folder)
    PromptEncoder(_load_tokenizer(folder), None).spans(text, tokens, as_superclass=False)


def choose_device(name: str) -> torch.device:
    """A device by name; "auto": a GPU if there is one.  ValueError for one that is not there."""
    if name == "auto":
        return process_device() or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        have = ", ".join(["'auto'", "'cpu'", *(f"'cuda:{i}'" for i in range(torch.cuda.device_count()))])
        raise ValueError(f"device: got {name!r}, this machine has {have}") from error
    return device


def require_dtype(name: str) -> None:
    """ValueError unless a precision has this name."""
    if name != "auto" and name not in _DTYPES:
        raise ValueError(f"dtype: got {name!r}, allowed: 'auto', {', '.join(map(repr, _DTYPES))}")


def choose_dtype(name: str, device: torch.device, folder: Path) -> torch.dtype:
    """A precision by name; "auto" is what ``auto_dtype`` says of a base in diffusers layout."""
    require_dtype(name)
    return _DTYPES[auto_dtype(folder, device) if name == "auto" else name]


def auto_dtype(folder: Path, device: torch.device) -> str:
    """The precision that is nearest to fp32 of those that suit a device and a base.

    Against fp32, 20 steps in fp16 end 0.7 % apart, in bf16 5.9 % (full-size layers with random weights); bf16 is for
    bases stored in it, whose values may be out of fp16's range.
    """
    if device.type == "cpu":
        return "fp32"
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported()
    return "bf16" if has_bf16 and stored_dtype(folder) == torch.bfloat16 else "fp16"


def _load_weights(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """One part of a base; ValueError if its file is broken or lacks weights, which libraries fill at random."""
    import transformers

    # both libraries renamed ``torch_dtype`` to ``dtype``, at different times
    renamed = kind.__module__.startswith("transformers") and int(transformers.__version__.split(".")[0]) >= 5
    options: dict[str, Any] = {"dtype" if renamed else "torch_dtype": dtype}
    files = weight_files(folder)
    if all(".fp16." in file.name for file in files):
        options["variant"] = "fp16"
    if not any(file.suffix.lower() == ".safetensors" for file in files):
        options["use_safetensors"] = False  # or diffusers prints two lines of alarm; pickles are read as weights only
    try:
        part, report = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True, **options)
    except (OSError, RuntimeError, ValueError, NotImplementedError, SafetensorError, pickle.UnpicklingError) as error:
        raise ValueError(f"base: the weights in {folder} cannot be read ({error}); {_cure(error)}") from error
    missing = sorted(name for name in report["missing_keys"] if not name.endswith("position_ids"))
    if missing or report["mismatched_keys"]:
        first = missing[0] if missing else str(next(iter(report["mismatched_keys"])))
        count = len(missing) + len(report["mismatched_keys"])
        raise ValueError(
            f"base: {count} weights in {folder} are missing or misfit, e.g. {first}; copy them and config.json again, "
            "from one model"
        )
    return part


def _cure(error: Exception) -> str:
    """What helps, by what a library says: transformers reads a pickle with torch 2.6 or newer alone."""
    if "upgrade torch" in str(error):
        return f"here is torch {torch.__version__}: update torch, or take the model's .safetensors files"
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
        return "the file holds more than weights, which is never executed: take the model's .safetensors files"
    return "copy them again"
