"""Load a Wan base from a diffusers folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .base_folder import base_name, check_weights
from .memory import Workload, check_mode, choose_mode, free_memory
from .part_loading import choose_device, load_part, require_dtype, without_progress_bars
from .wan import WanBackbone
from .wan_folder import check_wan_folder, wan_geometry

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_wan(
    folder: Path,
    dtype: str = "auto",
    device: str = "auto",
    memory: str = "high",
    workloads: Sequence[Workload] = (),
) -> WanBackbone:
    """Load a base from the folder of a WanPipeline; arguments and errors as ``load_base``.

    In "auto" it is in fp32 on a CPU and elsewhere in bf16, which Wan was trained in; the autoencoder is always in fp32,
    for which it was made.
    """
    where = choose_device(device)
    chosen = _dtype(dtype, where)
    check_mode(memory)
    check_wan_folder(folder)
    check_weights(folder, ("transformer", "vae", "text_encoder"))
    geometry = wan_geometry(folder)

    # slow to import, and not needed to refuse a wrong folder
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import UMT5EncoderModel

    with without_progress_bars():
        backbone = WanBackbone(
            base_name(folder),
            load_part(WanTransformer3DModel, folder / "transformer", chosen),
            load_part(AutoencoderKLWan, folder / "vae", torch.float32),
            load_part(UMT5EncoderModel, folder / "text_encoder", chosen),
            load_wan_tokenizer(folder),
            geometry.shift,
            **({} if geometry.trained_size is None else {"probe": geometry.trained_size}),
        )
    backbone.use_memory(choose_mode(memory, backbone, workloads, free_memory(where)), where)
    return backbone


def load_wan_tokenizer(folder: Path) -> Any:
    """The tokenizer of a Wan base."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    require_dtype(name)
    if name == "auto":
        has_bf16 = device.type != "cpu" and (device.type != "cuda" or torch.cuda.is_bf16_supported())
        return torch.bfloat16 if has_bf16 else torch.float32
    if name not in _DTYPES:
        raise ValueError(f"dtype: got {name!r}, a Wan base takes 'auto', {', '.join(map(repr, _DTYPES))}")
    return _DTYPES[name]
