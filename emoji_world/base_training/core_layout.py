"""The transformer's weights under the names of the Wan authors' code, as ComfyUI's own Wan code opens them.

ComfyUI takes the text to be 4096 wide and fixes heads at 128.  A narrower text's first layer is padded with
zero columns; its encodings then have to be padded with zeros as well, and the output is the same.
"""

from __future__ import annotations

import torch

CORE_TEXT_WIDTH = 4096
TEXT_LAYER = "text_embedding.0.weight"

# Longer names first where one contains another.
_RENAMED = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    (".attn1.", ".self_attn."),
    (".attn2.", ".cross_attn."),
    (".to_out.0.", ".o."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    (".ffn.net.0.proj.", ".ffn.0."),
    (".ffn.net.2.", ".ffn.2."),
    (".norm2.", ".norm3."),  # Wan numbers the norms by their order in the file, diffusers by their use
    ("proj_out.", "head.head."),
)


def core_name(name: str) -> str:
    """The name in the Wan authors' code of a parameter of diffusers' WanTransformer3DModel."""
    if name == "scale_shift_table":
        return "head.modulation"
    name = name.replace("scale_shift_table", "modulation")
    for ours, theirs in _RENAMED:
        name = name.replace(ours, theirs)
    return name


def core_weights(weights: dict[str, torch.Tensor], text_width: int = CORE_TEXT_WIDTH) -> dict[str, torch.Tensor]:
    """A text-to-video transformer's state dict for ComfyUI.

    Args:
        weights: the state dict of a WanTransformer3DModel without image conditions.
        text_width: what to pad the text's width to.
    """
    images = sorted(name for name in weights if "image_embedder" in name or "add_k_proj" in name)
    if images:
        raise ValueError(f"weights: got {images[0]}, of an image-to-video model; allowed: text-to-video alone")
    renamed = {core_name(name): weight for name, weight in weights.items()}
    layer = renamed[TEXT_LAYER]  # [D, T]
    if layer.shape[1] > text_width:
        raise ValueError(f"text_width: got {text_width}, allowed: {layer.shape[1]} or more, this model's own")
    renamed[TEXT_LAYER] = torch.nn.functional.pad(layer, (0, text_width - layer.shape[1]))
    return renamed
