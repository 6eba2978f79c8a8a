"""LoRA files for Wan as each trainer writes them."""

from __future__ import annotations

import json

import torch
from safetensors.torch import save_file

LAYERS = [
    f"blocks.{n}.{layer}"
    for n in range(2)
    for layer in (*(f"{kind}_attn.{which}" for kind in ("self", "cross") for which in "qkvo"), "ffn.0", "ffn.2")
]
RANK, ALPHA = 4, 2.0


def factors(seed: int, wide: int = 12) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    size = {"ffn.0": (wide, 20), "ffn.2": (20, wide)}
    pairs = {}
    for layer in LAYERS:
        inner, outer = size.get(layer[9:], (wide, wide))
        pairs[layer] = (
            torch.randn(RANK, inner, generator=generator),
            torch.randn(outer, RANK, generator=generator),
        )
    return pairs


def original_to_diffusers(layer: str) -> str:
    for old, new in (
        ("self_attn.", "attn1.to_"), ("cross_attn.", "attn2.to_"), ("to_o", "to_out.0"), ("ffn.0", "ffn.net.0.proj"),
        ("ffn.2", "ffn.net.2"),
    ):  # fmt: skip
        layer = layer.replace(old, new)
    return layer


PEFT, KOHYA = (".lora_A.weight", ".lora_B.weight"), (".lora_down.weight", ".lora_up.weight")
# Who writes it -> (a layer's key, the ends, whether there are .alpha tensors, the header).
ROWS = {
    "musubi, kohya": (lambda n: "lora_unet_" + n.replace(".", "_"), KOHYA, True, None),
    "Wan-Fun": (lambda n: "lora_unet__" + n.replace(".", "_"), KOHYA, True, None),
    "ai-toolkit": (lambda n: f"diffusion_model.{n}", PEFT, False, None),
    "diffusion-pipe": (lambda n: f"diffusion_model.{n}", PEFT, False, {"format": "pt"}),
    "core SaveLoRA": (lambda n: f"diffusion_model.{n}", KOHYA, True, None),
    "lightx2v": (lambda n: f"diffusion_model.{n}", KOHYA, False, None),
    "diffusers": (
        lambda n: f"transformer.{original_to_diffusers(n)}", PEFT, False,
        {"lora_adapter_metadata": json.dumps({"transformer.r": RANK, "transformer.lora_alpha": ALPHA})},
    ),
    "DiffSynth": (lambda n: n, (".lora_A.default.weight", ".lora_B.default.weight"), False, None),
}  # fmt: skip


def write(path, who: str, pairs) -> float:
    """A file as its trainer writes it; returns the scale it has."""
    name, (down, up), alphas, metadata = ROWS[who]
    tensors = {}
    for layer, (a, b) in pairs.items():
        tensors |= {f"{name(layer)}{down}": a, f"{name(layer)}{up}": b}
        if alphas:
            tensors[f"{name(layer)}.alpha"] = torch.tensor(ALPHA)
    save_file(tensors, path, metadata)
    return ALPHA / RANK if alphas or who == "diffusers" else 1.0
