"""Another pack in the same ComfyUI; its node says what of its surroundings has changed since it was imported."""

from __future__ import annotations

import logging
import os
from typing import Any

import diffusers
import torch
import transformers

CLASSES = (
    diffusers.UNet3DConditionModel, diffusers.AutoencoderKL, transformers.CLIPTextModel, torch.nn.Module,
    torch.nn.Linear, torch.Tensor,
)  # fmt: skip
CACHES = ("_abc_impl", "__annotations__", "__doc__")


def settings() -> dict[str, Any]:
    loggers = [logging.getLogger(name) for name in (None, "diffusers", "transformers")]
    return {
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "logging": [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers],
        "environment": dict(os.environ),
    }


def members() -> dict[str, Any]:
    return {f"{c.__name__}.{n}": value for c in CLASSES for n, value in vars(c).items() if n not in CACHES}


SETTINGS, MEMBERS = settings(), members()


class Changes:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "look"
    CATEGORY = "neighbour"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"word": ("STRING", {})}}

    def look(self, word: str) -> dict[str, Any]:
        now, there = settings(), members()
        changed = [name for name, value in SETTINGS.items() if now[name] != value]
        changed += [name for name, value in MEMBERS.items() if there.get(name) is not value]
        return {"ui": {"text": [word, *changed]}, "result": (word,)}


NODE_CLASS_MAPPINGS = {"NeighbourChanges": Changes}
