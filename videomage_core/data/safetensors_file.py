"""Safetensors files from anyone: opened safely, and named for what they are where they are something else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..atomic_write import partial_file

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
# How other files begin -> what they are, and what to do.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"GGUF", "a GGUF file, which holds a quantised model", "give the LoRA's own .safetensors file"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, a few lines of text in place of the weights",
        "run `git lfs pull` in its folder, or download the file itself",
    ),
    (b"<!doctype", "a web page", "the download went wrong (is a login needed?); download the file itself"),
    (b"<html", "a web page", "the download went wrong (is a login needed?); download the file itself"),
)
_PICKLE = (
    "a PyTorch pickle (.pt, .pth, .ckpt, .bin), which can run code when it is read",
    "convert it to .safetensors with the program that made it",
)


@dataclass(frozen=True)
class SafetensorsFile:
    """All that stands in one file.

    Attributes:
        name: of the file, for messages.
        tensors: by key.
        metadata: the header's texts.
    """

    name: str
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]


def read_safetensors(path: Path) -> SafetensorsFile:
    """A whole file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is something else, is not whole, or names a tensor twice.
    """
    with opened(path) as file:
        # Copied: a file that is cut short while it is mapped to memory would take the whole program with it.
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a dict
        metadata = dict(file.metadata() or {})
    return SafetensorsFile(path.name, tensors, metadata)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file whose header was read; errors as ``read_safetensors``."""
    if not path.is_file():
        folder = ", it is a folder" if path.is_dir() else ""
        raise FileNotFoundError(f"LoRA: {path} is not there{folder}; give a .safetensors file")
    what = _something_else(path)
    if what is not None:
        raise ValueError(f"LoRA: {path.name} is {what[0]}, not a safetensors file; {what[1]}")
    try:
        with safe_open(path, framework="pt") as file:
            _require_each_key_once(path)
            yield file
    except SafetensorError as error:
        raise ValueError(f"LoRA: {path.name} is not a whole safetensors file ({error}); copy it again") from error


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file; beside the target first, then renamed over it.

    Raises:
        OSError: the disk is full or the folder cannot be written; an older file of that name is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_file(path)
    try:
        save_file(dict(tensors), partial, metadata=dict(metadata))
        _order_metadata(partial)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:  # safetensors reports a failed write as its own kind
        raise OSError(f"LoRA: {path} could not be written ({error}); make room or choose another folder") from error
    finally:
        partial.unlink(missing_ok=True)


def _order_metadata(path: Path) -> None:
    """safetensors orders metadata anew in each call; sorted, the same content is the same bytes."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header = {"__metadata__": dict(sorted(header.pop("__metadata__", {}).items())), **header}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # it is: safetensors pads the header with spaces
            file.seek(8)
            file.write(text.ljust(length))


def _something_else(path: Path) -> tuple[str, str] | None:
    """What a file is that is no safetensors file, and what to do; None if nothing is known against it."""
    with path.open("rb") as file:
        begin = file.read(64)
    for beginning, what, cure in _BEGINNINGS:
        if begin.lower().startswith(beginning.lower()):
            return what, cure
    pickled = begin.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
    if pickled and (path.suffix.lower() in _PICKLES or not _is_header(begin)):
        return _PICKLE
    if begin.startswith(b"{"):
        return "a JSON text", "give the .safetensors file that lies beside it"
    return None


def _is_header(begin: bytes) -> bool:
    """A safetensors file begins with its header's length, in 8 bytes, and the header's brace."""
    return begin[8:9] == b"{"


def _require_each_key_once(path: Path) -> None:
    """safetensors takes the last of two equal keys without a word."""
    with path.open("rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    twice: list[str] = []

    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in entries]
        if len(set(keys)) < len(keys):
            twice.extend(sorted({key for key in keys if keys.count(key) > 1}))
        return dict(entries)

    try:
        json.loads(header, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"LoRA: {path.name} has a header that is no JSON ({error}); copy it again") from error
    if twice:
        raise ValueError(f"LoRA: {path.name} names {short(twice[0])} twice, and which is meant cannot be known")


def short(value: Any) -> str:
    """Any value, for a message."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
