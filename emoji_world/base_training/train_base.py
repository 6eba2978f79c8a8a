"""The recipe of the built-in base, in one command, resumable at any point.

    python -m emoji_world.base_training.train_base

draws the data, trains the autoencoder, then text encoder and U-Net on stills, then on clips, and
writes the finished base in diffusers layout.  Stopped, it resumes when called again.
``--from-base`` starts text encoder and U-Net from an existing base instead of from nothing, and
keeps its autoencoder: more training for weights that are already good.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from ..world.small_dataset import Dataset, drawn, vocabulary, write_json
from .recipe import add_recipe_flags, cached_latents, last_average
from .tokenizer import build_tokenizer
from .train_unet import TextToVideo, encode, noise_schedule, train_unet
from .train_vae import train_vae, trained_vae

OUTPUT = Path(__file__).parents[2] / "videomage_core" / "assets" / "emoji_base"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_recipe_flags(parser, "runs", OUTPUT, clips=16_000)
    parser.add_argument("--vae-steps", type=int, default=6_000, help="steps of 16 frames")
    parser.add_argument("--still-steps", type=int, default=4_000, help="steps of 64 stills")
    parser.add_argument("--clip-steps", type=int, default=10_000, help="steps of 8 clips, every fourth of 48 stills")
    train(parser.parse_args(arguments))


def train(options: argparse.Namespace) -> None:
    """Run the stages that are not finished yet."""
    options.cache_dir.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(vocabulary(), options.cache_dir / "tokenizer")
    if options.write_only:
        return write_last_checkpoint(options, tokenizer)
    stills = drawn(options.cache_dir, options.stills, still=True)
    start = None
    if options.from_base:
        vae = AutoencoderKL.from_pretrained(options.from_base / "vae").to(options.device)
        start = weights_of(options.from_base, tokenizer)
    else:
        vae = train_vae(options.cache_dir, stills.pixels[:, 0], options.vae_steps, device=options.device)

    def latents_of(name: str, data: Dataset) -> torch.Tensor:
        return cached_latents(options.cache_dir, name, vae, len(data.pixels), partial(encode, vae, data))

    still_latents = latents_of("stills", stills)

    def stage(name: str, parts: list, steps: int, start: dict | None) -> TextToVideo:
        path = options.cache_dir / f"{name}.pt"
        return train_unet(name, path, parts, tokenizer, steps, options.learning_rate, start, options.device)

    if options.still_steps:
        start = stage("stills", [(stills, still_latents, 64)], options.still_steps, start).state_dict()
    clips = drawn(options.cache_dir, options.clips, still=False)
    clip_latents = latents_of("clips", clips)
    parts = [(clips, clip_latents, 8)] * 3 + [(stills, still_latents, 48)]
    write_base(options.output, vae, stage("clips", parts, options.clip_steps, start))


def write_last_checkpoint(options: argparse.Namespace, tokenizer: CLIPTokenizer) -> None:
    """Write the base from what was trained so far."""
    weights = last_average(options.cache_dir)
    model = TextToVideo(tokenizer)
    model.load_state_dict(weights)
    if options.from_base:
        vae = AutoencoderKL.from_pretrained(options.from_base / "vae")
    else:
        vae = trained_vae(options.cache_dir)
    write_base(options.output, vae, model)


def weights_of(base: Path, tokenizer: CLIPTokenizer) -> dict[str, torch.Tensor]:
    """The state dict of ``TextToVideo`` with a finished base's weights."""
    model = TextToVideo(tokenizer)
    model.text_encoder = type(model.text_encoder).from_pretrained(base / "text_encoder")
    model.unet.load_state_dict(load_file(base / "unet" / "diffusion_pytorch_model.safetensors"))
    return model.float().state_dict()


def write_base(folder: Path, vae: AutoencoderKL, model: TextToVideo) -> None:
    """Write a base in diffusers layout, weights in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    unet: UNet3DConditionModel = model.unet
    parts = {"vae": vae, "text_encoder": model.text_encoder, "unet": unet}
    for name, part in parts.items():
        dtype = next(part.parameters()).dtype
        part.half().save_pretrained(folder / name)
        part.to(dtype)
        _forget_origin(folder / name / "config.json")
    _add_prefix(folder / "text_encoder" / "model.safetensors")
    build_tokenizer(vocabulary(), folder / "tokenizer")
    noise_schedule().save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "TextToVideoSDPipeline",
        "_diffusers_version": "0.39.0",
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet3DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    write_json(folder / "model_index.json", index)


def _forget_origin(config: Path) -> None:
    """Take out where a part was loaded from: the libraries write the folder's name into its config."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings.pop("_name_or_path", None)
    write_json(config, settings)


def _add_prefix(path: Path) -> None:
    """Name the text encoder's weights as transformers 4 does, which transformers 5 reads too, not the other way."""
    prefix = "text_model."
    weights = {name if name.startswith(prefix) else prefix + name: w for name, w in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
