"""Tensors that are dear to make: made once, kept in a file, read the next time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..locks import in_turn


def kept(path: Path | None, make: Callable[[], torch.Tensor], log: Callable[[str], None]) -> torch.Tensor:
    """What ``make`` gives, from ``path`` if it is there.

    Args:
        path: a .safetensors file, named after all that the tensor depends on; None keeps nothing.
        make: called if there is no such file, or a damaged one.
        log: takes a line for the user.

    Returns:
        The tensor, on the CPU.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    if path is None:
        return make().cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    with in_turn(path.parent):  # another process may be making it: then this one waits, and reads
        return _read_or_make(path, make, log)


def _read_or_make(path: Path, make: Callable[[], torch.Tensor], log: Callable[[str], None]) -> torch.Tensor:
    if path.is_file():
        try:
            with safe_open(path, framework="pt") as file:
                return file.get_tensor("kept")
        except SafetensorError:
            log(f"{path.name} is damaged; making it again")
    made = make().cpu().contiguous()
    partial = path.with_suffix(".partial")
    try:
        save_file({"kept": made}, partial)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:  # safetensors reports a failed write as its own kind
        raise OSError(f"{path} could not be written ({error}); make room or choose another folder") from error
    finally:
        partial.unlink(missing_ok=True)
    return made
