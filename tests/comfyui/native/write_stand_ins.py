"""Write tiny files of random weights at the names of the Wan workflows: python write_stand_ins.py MODELS_FOLDER

Each is a state dict of core's own classes, so core's loaders take them; they make noise.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from in_core import use_core

use_core()
WIDTH, LAYERS, TEXT = 128, 6, 4096
DIFFUSION = [
    "wan2.1_t2v_1.3B_fp16", "wan2.2_t2v_high_noise_14B_fp8_scaled", "wan2.2_t2v_low_noise_14B_fp8_scaled",
]  # fmt: skip
LORAS = [f"my_{name}{part}" for name in ("dog", "cat", "motion") for part in ("", "_high_noise", "_low_noise")]


def random_state(module: Any, seed: int) -> dict[str, torch.Tensor]:
    """Weights that keep values near one from layer to layer."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, weight in module.state_dict().items():
        values = torch.randn(weight.shape, generator=generator)
        if name.endswith(("gamma", "norm_q.weight", "norm_k.weight", "norm3.weight", "layer_norm.weight")):
            values = torch.ones(weight.shape)
        elif weight.ndim > 1 and "modulation" not in name:
            values *= weight[0].numel() ** -0.5
        else:
            values *= 0.1
        state[name] = values.half()
    return state


def write(folder: Path, name: str, state: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / f"{name}.safetensors")


def wan(seed: int) -> dict[str, torch.Tensor]:
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    sizes = {"in_dim": 16, "out_dim": 16, "dim": WIDTH, "ffn_dim": 256, "text_dim": TEXT, "freq_dim": 256}
    return random_state(
        WanModel(model_type="t2v", num_heads=1, num_layers=LAYERS, operations=comfy.ops.disable_weight_init, **sizes),
        seed,
    )


def lora(seed: int) -> dict[str, torch.Tensor]:
    generator, state = torch.Generator().manual_seed(seed), {}
    for block in range(LAYERS):
        for layer in ("self_attn.q", "cross_attn.k"):
            stem = f"diffusion_model.blocks.{block}.{layer}"
            state[f"{stem}.lora_A.weight"] = torch.randn(2, WIDTH, generator=generator) * 0.1
            state[f"{stem}.lora_B.weight"] = torch.randn(WIDTH, 2, generator=generator) * 0.3
    return state


def umt5() -> dict[str, torch.Tensor]:
    import comfy.ops
    import comfy.text_encoders.t5
    from small_umt5 import SMALL
    from tiny_sentencepiece import trained_model

    model = comfy.text_encoders.t5.T5(SMALL, torch.float32, torch.device("cpu"), comfy.ops.disable_weight_init)
    told_by = "encoder.block.23.layer.1.DenseReluDense.wi_1.weight"  # core knows Wan's text encoder by it
    spiece = torch.tensor(list(trained_model()), dtype=torch.uint8)
    return {**random_state(model, 9), told_by: torch.zeros(1, TEXT).half(), "spiece_model": spiece}


def vae() -> dict[str, torch.Tensor]:
    """Of full size, for core builds no other."""
    from comfy.ldm.wan.vae import WanVAE

    return random_state(WanVAE(dim=96, z_dim=16, temperal_downsample=[False, True, True]), 8)


def main(models: Path) -> None:
    for seed, name in enumerate(DIFFUSION):
        write(models / "diffusion_models", name, wan(seed))
    for seed, name in enumerate(LORAS, start=20):
        write(models / "loras", name, lora(seed))
    write(models / "text_encoders", "umt5_xxl_fp8_e4m3fn_scaled", umt5())
    write(models / "vae", "wan_2.1_vae", vae())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
