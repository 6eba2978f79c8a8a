"""The keys of what is kept: one function for all, and one key for a training, built by its stage alone.

A training's key names its stage, the stage's declared ``VERSION``, the settings that count and what the user gave:
images, prompts, LoRAs.  Never what a network made of it, which another device or precision rounds otherwise, and
never the source text: a reworded error must not throw hours away.  ``VERSION`` is raised when the same inputs give
other results; ``tests/core/test_versions.py`` fails where that was forgotten.

The base is not part of the key.  Its fingerprint is compared with a tolerance, by checkpoint and LoRA file, so that
fp32, fp16 and bf16 are one base.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import torch

from .config import TrainingConfig


def cache_key(*parts: object) -> str:
    """16 hexadecimal digits that tell texts, numbers and tensors from others."""
    key = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            values = part.detach().cpu().contiguous()
            key.update(f"{tuple(part.shape)}".encode())
            key.update((values.float() if values.is_floating_point() else values).numpy().tobytes())
        else:
            key.update(repr(part).encode())
        key.update(b"|")
    return key.hexdigest()[:16]


def training_key(stage: str, version: int, config: TrainingConfig, *inputs: object) -> str:
    """The key of a stage's training, for its checkpoint and for its finished result.

    Args:
        stage: its name.
        version: its ``VERSION``.
        config: its settings; see ``cache_key_settings``.
        inputs: texts, numbers and tensors, as the user gave them.
    """
    return cache_key(stage, version, cache_key_settings(config), *inputs)


def cache_key_settings(config: TrainingConfig) -> dict[str, Any]:
    """All settings that change the result; not the steps under a constant schedule, which may be trained longer."""
    settings = asdict(config)
    free = ["save_every_n_steps", "sample_every_n_steps"]
    for name in [*free, *(["steps"] if config.lr_scheduler == "constant" else [])]:
        settings.pop(name, None)
    return settings
