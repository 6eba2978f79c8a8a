"""One part of a base from its folder, and where and in which precision."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..distributed import process_device
from .base_folder import weight_files

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Small files load in a blink; transformers' own bar for each would only litter the terminal."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" takes a GPU where there is one.  ValueError for one that is not there."""
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
    if name != "auto" and name not in DTYPES:
        raise ValueError(f"dtype: got {name!r}, allowed: 'auto', {', '.join(map(repr, DTYPES))}")


def load_part(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
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
