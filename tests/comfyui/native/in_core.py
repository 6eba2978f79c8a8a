"""The pack's modules in a process that has a ComfyUI core on its path, and a tiny UMT5 of core's own classes."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

PACK = Path(__file__).parents[3]
NAME = "custom_nodes_comfyui-videomage"
WIDTH = 32
SMALL = {
    "d_model": WIDTH, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2, "vocab_size": 512, "model_type": "umt5",
    "is_gated_act": True, "dense_act_fn": "gelu_pytorch_tanh",
}  # fmt: skip


def use_core() -> None:
    """Put the core of COMFYUI_PATH on the path, for the CPU."""
    sys.path[:0] = [os.environ["COMFYUI_PATH"], str(PACK / "tests")]
    from comfy.cli_args import args

    args.cpu = True


def pack_module(name: str) -> Any:
    """A module of the pack as ComfyUI imports it."""
    if NAME not in sys.modules:
        init = PACK / "__init__.py"
        spec = importlib.util.spec_from_file_location(NAME, init, submodule_search_locations=[str(PACK)])
        assert spec is not None and spec.loader is not None
        sys.modules[NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[NAME])
    return importlib.import_module(f"{NAME}.{name}")


def tiny_clip() -> Any:
    """ComfyUI's CLIP of type wan: its tokenizer on a small SentencePiece model, its UMT5 in small, random weights."""
    import comfy.sd
    import comfy.text_encoders.wan as wan
    from tiny_sentencepiece import trained_model

    target = SimpleNamespace(params={}, clip=wan.te(), tokenizer=wan.WanT5Tokenizer)
    model = torch.tensor(list(trained_model()), dtype=torch.uint8)
    options = {"umt5xxl_model_config": SMALL, "dtype": torch.float32}
    clip = comfy.sd.CLIP(target, tokenizer_data={"spiece_model": model}, model_options=options)
    generator = torch.Generator().manual_seed(0)
    for weight in clip.cond_stage_model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.3
    return clip
