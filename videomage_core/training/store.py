"""Trainings that are kept: each has a folder, named after all that its result depends on.

So a training is idempotent: with the same inputs the finished LoRA is read again, and a stopped
training resumes from its checkpoint, also after the program was restarted.

Under a constant schedule the steps do not count: trainings of more and of fewer steps share a folder and
its checkpoints (``training.py`` says which resumes from which), and what each made is kept in a sub-folder named
after its steps.  So whoever lowers the steps and raises them again gets what they had.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..atomic_write import partial_file
from ..cache_key import cache_key
from ..data.lora_file import LoraModel, load_lora, save_lora
from ..history import History
from ..output_paths import illegal_on_windows
from ..text_files import read_json

_LORA, _VIDEOS, _HISTORY = "lora.safetensors", "videos.safetensors", "history.json"


@dataclass(frozen=True)
class StoredResult:
    """What a training made.

    Attributes:
        lora_model: the LoRA.
        history: losses and seconds.
        videos: what it has to show, by name: [3, F, H, W] in -1..1 (maps: [K, F, H, W]).
    """

    lora_model: LoraModel
    history: History
    videos: dict[str, torch.Tensor]


def require_file_name(name: str) -> None:
    """ValueError unless a LoRA file can have this name: letters, digits, spaces, "_", "-" and ".", no folder."""
    if not re.fullmatch(r"[\w][\w .-]*", name) or len(name) > 100 or illegal_on_windows(name):
        short_name = name if len(name) <= 100 else f"{name[:100]}..."
        raise ValueError(
            f"file name: got {short_name!r}, allowed are letters, digits, spaces, '_', '-' and '.', at most 100 "
            "of them, e.g. 'my_dog'; no folder, and no name of a device, such as 'con'"
        )


def run_dir(root: Path, name: str, key: str, *base: object) -> Path:
    """The folder of a training, named after its file's name and a key of all that its result depends on.

    Args:
        root: where such folders are.
        name: of the LoRA file.
        key: the training's, which its stage gives: ``subject_key``, ``motion_key``, ``fusion_key``.
        base: what tells the base from others.
    """
    require_file_name(name)
    return root / f"{name}-{cache_key(key, *base)}"


def load_result(folder: Path, steps: int) -> StoredResult | None:
    """What was made in ``folder``, if a training of as many steps was finished there."""
    folder = _result_dir(folder, steps)
    if not all((folder / name).is_file() for name in (_LORA, _VIDEOS, _HISTORY)):
        return None
    try:
        history = History(**read_json(folder / _HISTORY))
        return StoredResult(load_lora(folder / _LORA), history, load_file(folder / _VIDEOS))
    except (ValueError, TypeError, SafetensorError):  # damaged: the checkpoint makes it anew
        return None


def save_result(folder: Path, result: StoredResult) -> None:
    """Write what was made to its training's folder, so that ``load_result`` finds it."""
    folder = _result_dir(folder, len(result.history.seconds))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _LORA).unlink(missing_ok=True)  # beside damaged files: it must not be taken for what is written now
    save_file({name: video.cpu().contiguous() for name, video in result.videos.items()}, folder / _VIDEOS)
    write_atomically(folder / _HISTORY, json.dumps(dataclasses.asdict(result.history)))
    save_lora(folder / _LORA, result.lora_model)  # last: with it the training counts as finished


def _result_dir(folder: Path, steps: int) -> Path:
    return folder / f"{steps}_steps"


def export_lora(lora_model: LoraModel, folder: Path, name: str) -> Path:
    """Save a LoRA to where it is shared from; another LoRA's file of that name is left as it is.

    Args:
        lora_model: the LoRA.
        folder: of LoRA files.
        name: wanted; with a number behind it if another LoRA has it already.

    Returns:
        The file; one that holds this very LoRA is not written again.
    """
    require_file_name(name)
    for number in range(1, 10_000):
        path = folder / (f"{name}.safetensors" if number == 1 else f"{name}_{number}.safetensors")
        if not path.exists():
            save_lora(path, lora_model)
            return path
        if _contains(path, lora_model):
            return path
    raise ValueError(f"file name: {folder} is full of LoRAs called {name!r}; choose another name")


def _contains(path: Path, lora_model: LoraModel) -> bool:
    try:
        there = load_lora(path)
    except ValueError:
        return False
    return cache_key(*there.key_parts()) == cache_key(*lora_model.key_parts())


def write_atomically(path: Path, text: str) -> None:
    """Write beside ``path``, then rename: whoever reads it sees all of it."""
    partial = partial_file(path)
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
