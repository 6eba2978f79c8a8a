"""A file cache for tensors that are expensive to compute."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..atomic_write import partial_file
from ..callbacks import Callbacks
from ..locks import waiting_lock


def cached_tensor(path: Path | None, make: Callable[[], torch.Tensor], callbacks: Callbacks) -> torch.Tensor:
    """The tensor cached in ``path``, or else the result of ``make``, which is then cached.

    Args:
        path: a .safetensors file whose name contains the cache key; None: no caching.
        make: called if the file is missing or damaged.
        callbacks: told of what is out of the ordinary; cancels while another process at work in the folder is waited
            for.

    Returns:
        The tensor, on the CPU.

    Raises:
        Cancelled: the host stopped the run.
        OSError: the disk is full or the folder cannot be written.
    """
    if path is None:
        return make().cpu().contiguous()
    cached = _read(path)
    if cached is not None:
        return cached
    path.parent.mkdir(parents=True, exist_ok=True)

    def waiting() -> None:
        callbacks.check()
        callbacks.progress(0, 1, "waiting for another process")

    with waiting_lock(path.parent, waiting):  # another process may compute the same tensor
        cached = _read(path)
        if cached is None:
            if path.is_file():
                callbacks.log(f"{path.name} is damaged; computing it again")
            cached = make().cpu().contiguous()
            _write(path, cached)
        return cached


def _read(path: Path) -> torch.Tensor | None:
    """None if the file is missing or damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor("tensor")
    except SafetensorError:
        return None


def _write(path: Path, tensor: torch.Tensor) -> None:
    partial = partial_file(path)
    try:
        save_file({"tensor": tensor}, partial)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:  # safetensors reports a failed write as its own kind
        raise OSError(f"{path} could not be written ({error}); make room or choose another folder") from error
    finally:
        partial.unlink(missing_ok=True)
