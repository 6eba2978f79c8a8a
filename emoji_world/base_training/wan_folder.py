"""Writing ``emoji_wan``: a folder that ``diffusers.WanPipeline.from_pretrained`` opens, weights in fp16."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file

from ..world.small_dataset import write_json
from .text_to_video import TextToVideo
from .wan_models import new_scheduler

LARGEST = 25_000_000  # bytes of weights


def write_base(folder: Path, autoencoder: AutoencoderKLWan, model: TextToVideo, tokenizer_folder: Path) -> None:
    """Write a base in diffusers' layout.

    Args:
        folder: where it goes.
        autoencoder: the trained, causal one.
        model: text encoder and transformer.
        tokenizer_folder: the tokenizer's files.
    """
    parts = {"vae": autoencoder, "text_encoder": model.text_encoder, "transformer": model.transformer}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
        _to_half(folder / name)
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    for file in sorted(tokenizer_folder.iterdir()):
        (folder / "tokenizer" / file.name).write_bytes(file.read_bytes())
    new_scheduler().save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.35.0",
        "boundary_ratio": None,
        "expand_timesteps": False,
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": [None, None],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    write_json(folder / "model_index.json", index)
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    if size > LARGEST:
        raise RuntimeError(f"{folder}: {size / 1e6:.1f} MB of weights, allowed: {LARGEST / 1e6:g} MB")


def _to_half(folder: Path) -> None:
    """Store a part's weights in fp16, and take out of its config where it was loaded from."""
    (weights_file,) = folder.glob("*.safetensors")
    weights = {name: weight.half().contiguous() for name, weight in load_file(weights_file).items()}
    save_file(weights, weights_file, metadata={"format": "pt"})
    config = folder / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings.pop("_name_or_path", None)
    for key in ("dtype", "torch_dtype"):
        if key in settings:
            settings[key] = "float16"
    write_json(config, settings)


def weights_of(folder: Path, vocabulary_size: int) -> dict[str, torch.Tensor]:
    """The state dict of ``TextToVideo`` with a finished base's weights, fp32.

    Args:
        folder: the base.
        vocabulary_size: number of tokens of its tokenizer.
    """
    model = TextToVideo(vocabulary_size)
    model.text_encoder.load_state_dict(
        _with_shared_names(load_file(folder / "text_encoder" / "model.safetensors"), model.text_encoder)
    )
    model.transformer.load_state_dict(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors"))
    return model.float().state_dict()


def _with_shared_names(weights: dict[str, torch.Tensor], module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Add the second name of the token table, which files hold once."""
    table = weights.get("shared.weight", weights.get("encoder.embed_tokens.weight"))
    return {name: weights.get(name, table) for name in module.state_dict()}
