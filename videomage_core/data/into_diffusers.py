"""A LoRA file on a stock ``UNet3DConditionModel``, for pipelines outside VideoMage.

``TextToVideoSDPipeline.load_lora_weights`` cannot do it: that U-Net lacks diffusers' adapter mixin, and diffusers ends
with "no attribute 'load_lora_adapter'".  peft can, which diffusers uses itself.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from .lora_file import load_lora


def load_into_diffusers(
    unet: Any, path: str | Path, strength: float = 1.0, adapter_name: str = "videomage"
) -> dict[str, torch.Tensor]:
    """Load a LoRA file into a diffusers U-Net.

    Args:
        unet: ``pipe.unet`` of a TextToVideoSDPipeline, of the base that the file was trained on.
        path: a file made by VideoMage.
        strength: of the LoRA.
        adapter_name: a different one for each file on the same U-Net.

    Returns:
        The embeddings of its special tokens by name, [k, D] each, for ``pipe.load_textual_inversion``; empty for a
        motion.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file by VideoMage, or it does not fit the U-Net, which is left as it was.
    """
    from peft import LoraConfig, inject_adapter_in_model

    lora_model = load_lora(Path(path))
    layers = lora_model.weights.layers
    _require_fit(unet, lora_model.base, layers)
    ranks = {module: a.shape[0] for module, (a, _) in layers.items()}
    config = LoraConfig(
        r=lora_model.weights.rank,
        lora_alpha=lora_model.weights.rank * strength,
        rank_pattern=ranks,
        alpha_pattern={module: rank * strength for module, rank in ranks.items()},
        target_modules=list(layers),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several files are meant
        inject_adapter_in_model(config, unet, adapter_name=adapter_name)
    with torch.no_grad():
        for module, (a, b) in layers.items():
            layer = unet.get_submodule(module)
            layer.lora_A[adapter_name].weight.copy_(a)
            layer.lora_B[adapter_name].weight.copy_(b * lora_model.weights.scale)
    for layer in unet.modules():
        if hasattr(layer, "lora_A"):  # peft leaves the newest alone active
            layer.set_adapter(list(layer.lora_A))
    unet.eval().requires_grad_(False)
    return {token.name: token.vectors for token in lora_model.tokens}


def _require_fit(unet: Any, base: str, layers: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    modules = dict(unet.named_modules())
    for module, (a, b) in layers.items():
        layer = modules.get(module)
        size = (getattr(layer, "out_features", 0), getattr(layer, "in_features", 0))
        if size != (b.shape[0], a.shape[1]):
            there = "missing" if layer is None else f"{size[0]}x{size[1]}"
            raise ValueError(
                f"unet: {module} is {b.shape[0]}x{a.shape[1]} in the LoRA and {there} in this U-Net; it was trained on "
                f"{base!r}"
            )
