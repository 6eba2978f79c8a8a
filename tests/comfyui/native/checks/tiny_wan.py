"""A tiny Wan of random weights, made by the core's own classes, and LoRAs, prompts and runs for it."""

from __future__ import annotations

import math
from typing import Any

import comfy.lora
import comfy.model_patcher
import comfy.samplers
import comfy.supported_models
import torch

CPU = torch.device("cpu")
LAYERS, WIDTH, HEADS, FEED, TEXT, TOKENS = 6, 48, 4, 64, 20, 12
LATENTS = (1, 16, 3, 4, 6)
SPANS = [{"word": "<toy>", "start": 1, "end": 3}, {"word": "<pet>", "start": 5, "end": 6}]
PLAIN_SPANS = [{"word": "toy", "start": 1, "end": 2}, {"word": "pet", "start": 4, "end": 6}]


def tiny_wan(
    dtype: torch.dtype = torch.float32, seed: int = 0, compute: torch.dtype | None = None, kind: str = "t2v"
) -> Any:
    """A MODEL as Load Diffusion Model gives it, its weights inference tensors."""
    family = comfy.supported_models.WAN21_T2V if kind == "t2v" else comfy.supported_models.WAN21_I2V
    config = family(
        {
            "image_model": "wan2.1", "model_type": kind, "in_dim": 16 if kind == "t2v" else 36, "out_dim": 16,
            "dim": WIDTH, "ffn_dim": FEED, "freq_dim": 32, "text_dim": TEXT, "num_heads": HEADS, "num_layers": LAYERS,
        }
    )  # fmt: skip
    config.set_inference_dtype(dtype, compute)
    with torch.inference_mode():
        model = config.get_model({}, device=CPU)
        generator = torch.Generator().manual_seed(seed)
        for name, weight in model.diffusion_model.named_parameters():
            values = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1 and "modulation" not in name:
                values *= 1.3 / math.sqrt(weight[0].numel())
            elif "norm" in name and name.endswith("weight"):
                values = 1 + 0.1 * values
            else:
                values *= 0.2
            weight.data.copy_(values)
        model.eval()
        return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


def lora_patches(
    patcher: Any, seed: int, rank: int = 2, alpha: float | None = None, parts: Any = None
) -> dict[str, Any]:
    """A random LoRA of these parts of every block, as the core has read it from a file."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    layers = dict(patcher.model.diffusion_model.named_modules())
    for block in range(LAYERS):
        for part in parts or ("self_attn.q", "self_attn.k", "self_attn.v", "cross_attn.q", "cross_attn.k", "ffn.0"):
            layer = layers[f"blocks.{block}.{part}"]
            stem = f"diffusion_model.blocks.{block}.{part}"
            state[f"{stem}.lora_A.weight"] = torch.randn(rank, layer.in_features, generator=generator) / 7
            state[f"{stem}.lora_B.weight"] = torch.randn(layer.out_features, rank, generator=generator) / 3
            if alpha is not None:
                state[f"{stem}.alpha"] = torch.tensor(alpha)
    return read(patcher, state)


def read(patcher: Any, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """LoRA tensors as the core reads them."""
    patches = comfy.lora.load_lora(state, comfy.lora.model_lora_keys_unet(patcher.model, {}))
    assert patches
    return dict(patches)


def with_lora(patcher: Any, patches: dict[str, Any], strength: float = 1.0) -> Any:
    """Load LoRA."""
    clone = patcher.clone()
    assert clone.add_patches(patches, strength)
    return clone


def conditioning(seed: int, spans: Any = None, used: int = 8) -> list[Any]:
    """A CONDITIONING, its text padded with zeros as UMT5's is."""
    text = torch.zeros(1, TOKENS, TEXT)
    text[:, :used] = torch.randn(1, used, TEXT, generator=torch.Generator().manual_seed(seed))
    options: dict[str, Any] = {"pooled_output": None}
    if spans is not None:
        options["videomage_spans"] = spans
    return [[text, options]]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sigmas_of(patcher: Any, steps: int) -> torch.Tensor:
    return comfy.samplers.calculate_sigmas(patcher.get_model_object("model_sampling"), "simple", steps)


def run(guider: Any, sampler: str = "euler", steps: int = 6, **more: Any) -> torch.Tensor:
    """Sample as SamplerCustomAdvanced does, inside inference mode."""
    sigmas = more.pop("sigmas", None)
    with torch.inference_mode():
        if sigmas is None:
            sigmas = sigmas_of(guider.model_patcher, steps)
        latent = more.pop("latent", torch.zeros(LATENTS))
        noise = more.pop("noise", random(*LATENTS, seed=9))
        chosen = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
        result: torch.Tensor = guider.sample(noise, latent, chosen, sigmas, disable_pbar=True, seed=5, **more)
        return result


def cfg_guider(patcher: Any, positive: Any, negative: Any, cfg: float) -> Any:
    """Core's CFGGuider."""
    guider = comfy.samplers.CFGGuider(patcher)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def weights(patcher: Any) -> dict[str, torch.Tensor]:
    """Copies of all weights."""
    return {name: value.clone() for name, value in patcher.model.state_dict().items()}
