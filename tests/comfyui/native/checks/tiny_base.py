"""One tiny Wan of random weights twice: as diffusers' folder, and as the core's MODEL, with a CLIP and a VAE."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import torch

CPU = torch.device("cpu")
NATIVE = Path(__file__).resolve().parents[1]
TESTS = NATIVE.parents[1]
sys.path.append(str(TESTS))  # at the end: its tiny_wan is another than the one here
SHIFT = 3.0


def _file(name: str, path: Path) -> Any:
    """A module by its file: ``tiny_wan`` is the name of two."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def diffusers_base(folder: Path) -> Any:
    """The engine's WanBackbone of a folder."""
    from videomage_pack.videomage_core.model.wan_loading import load_wan

    return load_wan(_file("tiny_wan_folder", TESTS / "tiny_wan.py").write_tiny_wan(folder), device="cpu")


def core_model(transformer: Any, text_dim: int, dtype: torch.dtype = torch.float32) -> Any:
    """The MODEL of a diffusers transformer's weights, with its shift, its weights inference tensors."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3
    from videomage_pack.emoji_world.base_training.core_layout import core_weights

    given = transformer.config
    config = comfy.supported_models.WAN21_T2V(
        {
            "image_model": "wan2.1", "model_type": "t2v", "in_dim": 16, "out_dim": 16,
            "dim": given.num_attention_heads * given.attention_head_dim, "ffn_dim": given.ffn_dim,
            "freq_dim": given.freq_dim, "text_dim": text_dim, "num_heads": given.num_attention_heads,
            "num_layers": given.num_layers, "eps": given.eps,
        }
    )  # fmt: skip
    config.set_inference_dtype(dtype, None)
    with torch.inference_mode():
        model = config.get_model({}, device=CPU)
        model.diffusion_model.load_state_dict(core_weights(transformer.state_dict(), text_dim))
        model.eval()
        patcher = comfy.model_patcher.ModelPatcher(model, CPU, CPU)
        return ModelSamplingSD3().patch(patcher, SHIFT)[0]


def transformer(text_dim: int) -> Any:
    """A diffusers transformer of random weights, of which some heads are temporal."""
    from diffusers import WanTransformer3DModel

    torch.manual_seed(5)
    network = WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=24, text_dim=text_dim, freq_dim=16, ffn_dim=64, num_layers=2
    )
    with torch.no_grad():
        for block in network.blocks:
            for layer in (block.attn1.to_q, block.attn1.to_k, block.attn2.to_q, block.attn2.to_k):
                layer.weight.mul_(3)
    return network.eval()


def tiny_vae() -> Any:
    """Core's VAE object with Wan's autoencoder in small."""
    from comfy.ldm.wan.vae import WanVAE

    torch.manual_seed(3)
    with torch.inference_mode():
        full = WanVAE(dim=96, z_dim=16, temperal_downsample=[False, True, True])
        vae = comfy.sd.VAE(sd=full.state_dict())
        small = WanVAE(
            dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        )
        for name, weight in small.named_parameters():
            weight.data = torch.ones_like(weight) if name.endswith("gamma") else torch.randn_like(weight) * 0.1
        vae.first_stage_model = small.eval()
        vae.vae_dtype = torch.float32
        vae.patcher = comfy.model_patcher.ModelPatcher(small, CPU, CPU)
    return vae


def tiny_clip() -> Any:
    """Core's CLIP of type wan in small (``in_core``)."""
    return _file("in_core", NATIVE / "in_core.py").tiny_clip()


def core_backbone(model: Any, clip: Any, vae: Any, probe: tuple[int, int, int] = (9, 32, 32), **more: Any) -> Any:
    from videomage_pack.nodes.native.core_wan import CoreWanBackbone

    return CoreWanBackbone("tiny", model, clip, vae, probe=probe, **more)
