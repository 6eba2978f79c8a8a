"""The recipe of ``emoji_wan``, in one command, resumable at any point, on a CPU or a GPU.

    python -m emoji_world.base_training.train_wan --cache-dir runs/wan --still-minutes 600 --clip-minutes 600

draws the rich world's data, builds the tokenizer, trains the autoencoder, then text encoder and transformer
on stills, then on clips among stills, and writes the finished base in diffusers' layout.  Stopped, it resumes
when called again; called again with more minutes, a finished stage goes on from before its
learning rate fell.  ``--from-base`` starts text encoder and transformer from an existing base and keeps its
autoencoder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ..world.captions import training_caption, vocabulary
from ..world.dataset import Dataset, drawn
from ..world.worlds import RICH, part_of
from .recipe import add_recipe_flags, cached_latents, last_average
from .text_to_video import TextToVideo
from .train_autoencoder import train_autoencoder, trained_autoencoder
from .train_loop import LoopConfig
from .train_transformer import Part, encode, train_transformer
from .wan_folder import weights_of, write_base
from .wan_tokenizer import build_tokenizer

OUTPUT = Path(__file__).parents[2] / "videomage_core" / "assets" / "emoji_wan"
STAGES = ("autoencoder", "still", "clip")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_recipe_flags(parser, "runs/wan", OUTPUT, clips=6_000)
    parser.add_argument("--data", type=Path, help="folder of the drawn data (--cache-dir)")
    parser.add_argument("--concepts", nargs="+", metavar="NAME", help="train on these alone (all of the rich world)")
    parser.add_argument("--first-drawings", action="store_true", help="train on an artist's first drawing of each")
    for stage, minutes in zip(STAGES, (60, 600, 600), strict=True):
        group = parser.add_mutually_exclusive_group()
        group.add_argument(f"--{stage}-minutes", type=float, help=f"training time of the stage ({minutes})")
        group.add_argument(f"--{stage}-steps", type=int, help="or its optimiser steps; 0 skips the stage")
        parser.set_defaults(**{f"{stage}_default": minutes})
    parser.add_argument("--still-batch", type=int, default=32, help="stills of a step")
    parser.add_argument("--clip-batch", type=int, default=8, help="clips of a step")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    train(parser.parse_args(arguments))


def train(options: argparse.Namespace) -> None:
    """Run the stages that are not finished yet."""
    options.cache_dir.mkdir(parents=True, exist_ok=True)
    world = part_of(RICH, options.concepts, options.first_drawings)
    tokenizer = the_tokenizer(options)
    if options.write_only:
        return write_last_checkpoint(options, tokenizer)
    data = options.data or options.cache_dir
    stills = drawn(data, options.stills, True, world)
    autoencoder = the_autoencoder(options, lambda: stills.pixels[:, 0])
    start = weights_of(options.from_base, len(tokenizer)) if options.from_base else None

    def latents_of(name: str, data: Dataset) -> torch.Tensor:
        encoded = partial(encode, autoencoder, data.pixels, options.device)
        return cached_latents(options.cache_dir, name, autoencoder, len(data.pixels), encoded)

    still_latents = latents_of("stills", stills)
    caption_of = partial(training_caption, world=world)

    def stage(name: str, parts: list[Part], config: LoopConfig | None, start: dict | None) -> dict[str, Any] | None:
        if config is None:
            return start
        path = options.cache_dir / f"{name}.pt"
        compiled = not options.no_compile
        args = (path, parts, tokenizer, caption_of, config, start, options.device, compiled)
        return train_transformer(*args).state_dict()

    start = stage("stills", [Part(stills.scenes, still_latents, options.still_batch)], loop_of(options, "still"), start)
    config = loop_of(options, "clip")
    if config is not None:
        clips = drawn(data, options.clips, False, world)
        clip_latents = latents_of("clips", clips)
        parts = [
            Part(clips.scenes, clip_latents, options.clip_batch),
            Part(stills.scenes, still_latents, options.still_batch),
        ]
        start = stage("clips", parts, config, start)
    write_last_checkpoint(options, tokenizer)


def loop_of(options: argparse.Namespace, stage: str) -> LoopConfig | None:
    """A stage's loop, None where its steps are 0: stills keep their learning rate where clips go on from them."""
    steps = getattr(options, f"{stage}_steps")
    if steps == 0:
        return None
    minutes = None if steps else getattr(options, f"{stage}_minutes") or getattr(options, f"{stage}_default")
    if stage == "autoencoder":
        return LoopConfig(learning_rate=5e-4, steps=steps, minutes=minutes, decay=0.4, ema_decay=0.99)
    decay = 0.0 if stage == "still" and options.clip_steps != 0 else 0.4
    return LoopConfig(learning_rate=options.learning_rate, steps=steps, minutes=minutes, decay=decay)


def the_tokenizer(options: argparse.Namespace) -> PreTrainedTokenizerBase:
    """The base's own tokenizer, or the one of the base to start from, whose token table belongs to it."""
    folder = options.cache_dir / "tokenizer"
    if options.from_base and not folder.is_dir():
        folder.mkdir(parents=True)
        for file in sorted((options.from_base / "tokenizer").iterdir()):
            (folder / file.name).write_bytes(file.read_bytes())
    if (folder / "tokenizer.json").is_file():
        return AutoTokenizer.from_pretrained(folder)
    return build_tokenizer(vocabulary(), folder)


def the_autoencoder(options: argparse.Namespace, frames: Callable[[], Any]) -> AutoencoderKLWan:
    """The autoencoder of the base to start from; else a new one, trained on ``frames``."""
    if options.from_base:
        return AutoencoderKLWan.from_pretrained(options.from_base / "vae", torch_dtype=torch.float32)
    config = loop_of(options, "autoencoder")
    if config is None:
        return trained_autoencoder(options.cache_dir)
    return train_autoencoder(options.cache_dir, frames(), config, device=options.device)


def write_last_checkpoint(options: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the base from what was trained so far."""
    weights = last_average(options.cache_dir)
    model = TextToVideo(len(tokenizer))
    model.load_state_dict(weights)
    if options.from_base:
        autoencoder = AutoencoderKLWan.from_pretrained(options.from_base / "vae", torch_dtype=torch.float32)
    else:
        autoencoder = trained_autoencoder(options.cache_dir)
    write_base(options.output, autoencoder, model, options.cache_dir / "tokenizer")


if __name__ == "__main__":
    main()
