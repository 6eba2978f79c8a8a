"""Load a base from a diffusers folder: precision, device and memory mode as asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .base_folder import EMOJI_BASE, base_name, check_base_folder, check_weights, stored_dtype
from .base_names import is_wan_folder
from .memory import Workload, check_mode, choose_mode, free_memory
from .part_loading import DTYPES, choose_device, load_part, require_dtype, without_progress_bars
from .text import PromptEncoder, SpecialToken
from .unet3d import UNet3DBackbone
from .wan import WanBackbone
from .wan_loading import load_wan, load_wan_tokenizer
from .wan_text import Umt5PromptEncoder


def load_base(
    folder: str | Path = EMOJI_BASE,
    dtype: str = "auto",
    device: str = "auto",
    memory: str = "high",
    workloads: Sequence[Workload] = (),
) -> UNet3DBackbone | WanBackbone:
    """Load a base from a folder in diffusers layout, of the kind that its ``model_index.json`` says.

    Arguments and errors as ``load_unet3d``; a WanPipeline is loaded by ``load_wan``, in "fp32" or "bf16".
    """
    load = load_wan if is_wan_folder(Path(folder)) else load_unet3d
    return load(Path(folder), dtype, device, memory, workloads)


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

    with without_progress_bars():
        backbone = UNet3DBackbone(
            base_name(folder),
            load_part(UNet3DConditionModel, folder / "unet", chosen),
            load_part(AutoencoderKL, folder / "vae", seen),
            load_part(CLIPTextModel, folder / "text_encoder", chosen),
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


def check_prompt(folder: Path, text: str, tokens: Sequence[SpecialToken] = ()) -> None:
    """Raise ValueError, before any weights are loaded, if a base cannot read a prompt.

    It may be too long, or name a special token that is not among ``tokens``.
    """
    if is_wan_folder(folder):
        prompts: PromptEncoder = Umt5PromptEncoder(load_wan_tokenizer(folder), None)
    else:
        check_base_folder(folder)
        prompts = PromptEncoder(_load_tokenizer(folder), None)
    prompts.spans(text, tokens, as_superclass=False)


def choose_dtype(name: str, device: torch.device, folder: Path) -> torch.dtype:
    """A precision by name; "auto" is what ``auto_dtype`` says of a base in diffusers layout."""
    require_dtype(name)
    return DTYPES[auto_dtype(folder, device) if name == "auto" else name]


def auto_dtype(folder: Path, device: torch.device) -> str:
    """The precision that is nearest to fp32 of those that suit a device and a base.

    Against fp32, 20 steps in fp16 end 0.7 % apart, in bf16 5.9 % (full-size layers with random weights); bf16 is for
    bases stored in it, whose values may be out of fp16's range, and for Wan, which was trained in it.
    """
    if device.type == "cpu":
        return "fp32"
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported()
    if is_wan_folder(folder):
        return "bf16" if has_bf16 else "fp32"
    return "bf16" if has_bf16 and stored_dtype(folder) == torch.bfloat16 else "fp16"
