"""The recipe of the embedded base, in one command, resumable at any point.

    python -m emoji_world.base_training.train_base

draws the data, trains the autoencoder, then text encoder and U-Net on stills, then on clips, and
writes the finished base in diffusers layout.  Stopped, it goes on where it was when called again.
``--from-base`` starts text encoder and U-Net from an existing base instead of from nothing, and
keeps its autoencoder: more training for weights that are already good.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from ..world.small_dataset import Dataset, drawn, vocabulary, write_json
from .cosine_loop import save_atomically
from .tokenizer import build_tokenizer
from .train_unet import TextToVideo, encode, noise_schedule, train_unet
from .train_vae import train_vae, trained_vae

OUTPUT = Path(__file__).parents[2] / "videomage_core" / "assets" / "emoji_base"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache-dir", type=Path, default=Path("runs"), help="folder for data and checkpoints (runs)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the finished base goes")
    parser.add_argument("--stills", type=int, default=40_000, help="still scenes drawn")
    parser.add_argument("--clips", type=int, default=16_000, help="clips drawn")
    parser.add_argument("--vae-steps", type=int, default=6_000, help="steps of 16 frames")
    parser.add_argument("--still-steps", type=int, default=4_000, help="steps of 64 stills")
    parser.add_argument("--clip-steps", type=int, default=10_000, help="steps of 8 clips, every fourth of 48 stills")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak, of stills and clips")
    parser.add_argument("--from-base", type=Path, help="start from this base's weights, keep its autoencoder")
    parser.add_argument("--write-only", action="store_true", help="write the base from the last checkpoint and stop")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
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
    still_latents = _cached_latents(options.cache_dir, "stills", vae, stills)

    def stage(name: str, parts: list, steps: int, start: dict | None) -> TextToVideo:
        path = options.cache_dir / f"{name}.pt"
        return train_unet(name, path, parts, tokenizer, steps, options.learning_rate, start, options.device)

    if options.still_steps:
        start = stage("stills", [(stills, still_latents, 64)], options.still_steps, start).state_dict()
    clips = drawn(options.cache_dir, options.clips, still=False)
    clip_latents = _cached_latents(options.cache_dir, "clips", vae, clips)
    parts = [(clips, clip_latents, 8)] * 3 + [(stills, still_latents, 48)]
    write_base(options.output, vae, stage("clips", parts, options.clip_steps, start))


def write_last_checkpoint(options: argparse.Namespace, tokenizer: CLIPTokenizer) -> None:
    """Write the base from what was trained so far."""
    checkpoints = [path for path in (options.cache_dir / "clips.pt", options.cache_dir / "stills.pt") if path.is_file()]
    if not checkpoints:
        raise FileNotFoundError(f"--write-only: {options.cache_dir} holds neither clips.pt nor stills.pt; train first")
    model = TextToVideo(tokenizer)
    model.load_state_dict(torch.load(checkpoints[0], map_location="cpu", weights_only=True)["average"])
    if options.from_base:
        vae = AutoencoderKL.from_pretrained(options.from_base / "vae")
    else:
        vae = trained_vae(options.cache_dir)
    write_base(options.output, vae, model)


def _cached_latents(work: Path, name: str, vae: AutoencoderKL, data: Dataset) -> torch.Tensor:
    """A data set's latents, kept under the name of the autoencoder that made them."""
    mark = hashlib.sha256(b"".join(w.cpu().numpy().tobytes() for w in vae.state_dict().values())).hexdigest()[:8]
    path = work / f"{name}-{len(data.pixels)}.{mark}.latents"
    if not path.is_file():
        save_atomically(encode(vae, data), path)
    return torch.load(path, weights_only=True)


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
