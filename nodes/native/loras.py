"""LoRAs on ComfyUI's own MODEL, put there by core's own patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def with_lora(model: Any, tensors: Mapping[str, torch.Tensor], strength: float) -> Any:
    """A clone of a MODEL that carries a LoRA, as core's *Load LoRA* makes it.

    Args:
        model: core's ModelPatcher; it is left as it was.
        tensors: ``diffusion_model.<layer>.lora_A.weight`` [R, in] and ``.lora_B.weight`` [out, R].
        strength: what the change of weights is multiplied with.

    Raises:
        ValueError: the MODEL lacks one of the layers, or a layer has another size.
    """
    import comfy.lora
    import comfy.utils

    loaded = comfy.lora.load_lora(dict(tensors), comfy.lora.model_lora_keys_unet(model.model, {}))
    patched = model.clone()
    added = set(patched.add_patches(loaded, strength))
    layers = [key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")]
    missing = [layer for layer in layers if f"{layer}.weight" not in added]
    if missing:
        raise ValueError(
            f"model: it lacks {len(missing)} of the LoRAs' {len(layers)} layers, e.g. {missing[0]}; these LoRAs are "
            "for Wan: wire a Load Diffusion Model with Wan 2.1 or 2.2"
        )
    for layer in layers:
        needed = tuple(comfy.utils.get_attr(model.model, f"{layer}.weight").shape)
        got = (tensors[f"{layer}.lora_B.weight"].shape[0], tensors[f"{layer}.lora_A.weight"].shape[1])
        if got != needed:
            raise ValueError(
                f"model: {layer} is {needed[0]}x{needed[1]} in the MODEL and {got[0]}x{got[1]} in the LoRAs; they are "
                "for another size of Wan (1.3B is 1536 wide, 14B 5120, 5B 3072)"
            )
    return patched
