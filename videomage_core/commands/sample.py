"""The command that makes a video: sample."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from ..config import CollaborativeConfig, SamplingConfig
from ..output_paths import require_output_file
from .common import add_base, file_and_strength, open_base, preset_of, terminal_callbacks
from .settings import add_settings, read_settings


def add_sample(commands: Any) -> None:
    parser = commands.add_parser(
        "sample",
        help="generate a video from a prompt, with or without LoRAs",
        description="Make a video from a prompt.  With --motion, of the subjects of one LoRA doing a motion (SCS).",
    )
    parser.add_argument("prompt", help='the prompt, e.g. "a dog is chasing a cat on grass"')
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="a LoRA file, once for each; without --motion all act together on one model (the paper's 'without SCS')",
    )
    parser.add_argument(
        "--motion",
        metavar="FILE[:STRENGTH]",
        help="a motion LoRA: collaborative sampling (SCS) with the one subject or fused LoRA of --lora",
    )
    parser.add_argument(
        "--method",
        choices=("auto", "averaged"),
        default="auto",
        help="auto: collaborative sampling (SCS) with --motion, else all LoRAs in one model; averaged: each subject's "
        "--lora with the --motion in turn, outputs averaged, as the paper runs its baselines (Sec. 4.1) (%(default)s)",
    )
    parser.add_argument(
        "--clip", type=Path, help="a clip of the motion, whose inverted noise is mixed into the initial noise"
    )
    parser.add_argument(
        "--attention-overlays",
        type=Path,
        help="with --motion: write each subject token's cross-attention maps to this PNG",
    )
    add_base(parser)
    parser.add_argument("--output", type=Path, default=Path("outputs/sample.mp4"), help="mp4 file (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same video (%(default)s)")
    parser.add_argument("--settings", type=Path, help="TOML file of settings, named as the flags below; flags win")
    add_settings(parser, CollaborativeConfig)
    parser.set_defaults(execute=_sample)


def _sample(options: argparse.Namespace) -> None:
    config = read_settings(options, preset_of(options).collaborative)
    _check_sample(options, config)
    loras = [file_and_strength(text) for text in options.lora]
    motion = file_and_strength(options.motion) if options.motion else None
    from ..data.augmentation import needed_size
    from ..data.lora_file import collect_tokens, load_lora
    from ..data.media import load_clip, save_video
    from ..model.text import prompt_warnings
    from ..stages.baselines import check_averaged, sample_averaged, sample_merged
    from ..stages.collaborative_sampling import check_pair, require_named, sample_collaboratively
    from ..stages.ddim_inversion import invert_clip

    concepts = [(load_lora(path), strength) for path, strength in loras]
    performed = load_lora(motion[0]) if motion else None
    clip = (
        load_clip(options.clip, config.frames, min_size=needed_size(config))
        if options.clip and config.noise_prior
        else None
    )
    tokens = collect_tokens([concept for concept, _ in concepts])
    if options.method == "averaged":
        check_averaged([concept for concept, _ in concepts], performed)
        require_named(options.prompt, tokens)
    elif performed is not None and motion is not None:
        check_pair(concepts[0][0], performed)
        require_named(options.prompt, tokens)
        config = dataclasses.replace(
            config,
            subject_strength=config.subject_strength * concepts[0][1],
            motion_strength=config.motion_strength * motion[1],
        )
    for warning in prompt_warnings(options.prompt, tokens):
        print(f"warning: {warning}", file=sys.stderr)
    backbone = open_base(options, config, [options.prompt], tokens)
    callbacks = terminal_callbacks()
    inverted = (
        invert_clip(backbone, clip.pixels, config, options.output.parent / "inverted", callbacks) if clip else None
    )
    result = None
    if options.method == "averaged":
        subjects = [concept for concept, _ in concepts]
        video = sample_averaged(
            backbone, subjects, performed, options.prompt, options.seed, config, inverted, callbacks
        )
    elif performed is None:
        video = sample_merged(backbone, concepts, options.prompt, options.seed, config, inverted, callbacks)
    else:
        with_maps = options.attention_overlays is not None
        result = sample_collaboratively(
            backbone, concepts[0][0], performed, options.prompt, options.seed, config, inverted, with_maps, callbacks
        )
        video = result.video
    save_video(video, options.output, config.fps)
    print(f"wrote {options.output}")
    if result is not None and result.maps is not None:
        _save_overlays(options.attention_overlays, result)
        print(f"wrote {options.attention_overlays}")


def _check_sample(options: argparse.Namespace, config: CollaborativeConfig) -> None:
    if options.output.suffix.lower() != ".mp4":
        raise ValueError(f"--output: got {options.output}, must end in .mp4")
    require_output_file(options.output, "--output")
    if options.method == "averaged" and not options.lora:
        raise ValueError("--method averaged: got no --lora, give each subject's, and the --motion they join")
    if options.method == "averaged":
        given = [text for text in [*options.lora, options.motion] if text and file_and_strength(text)[1] != 1]
        if given:
            raise ValueError(f"--method averaged: got {', '.join(given)}, strengths have no place here; leave them out")
    elif options.motion and len(options.lora) != 1:
        raise ValueError(
            f"--lora: got {len(options.lora)} with --motion, which takes one: a subject's or a fused one; "
            "make one of several with 'fuse', or average their outputs with --method averaged"
        )
    if options.attention_overlays is not None and options.attention_overlays.suffix.lower() != ".png":
        raise ValueError(f"--attention-overlays: got {options.attention_overlays}, must end in .png")
    if options.attention_overlays is not None:
        require_output_file(options.attention_overlays, "--attention-overlays")
    if options.attention_overlays is not None and options.motion and not (config.tau and config.alpha):
        raise ValueError(
            "--attention-overlays: without guidance (tau or alpha is 0) no attention is looked at; drop it"
        )
    if not options.motion or options.method == "averaged":
        needing = [f.name for f in dataclasses.fields(CollaborativeConfig) if f.name not in _plain_fields()]
        given = [f"--{name.replace('_', '-')}" for name in needing if getattr(options, name) is not None]
        given += ["--attention-overlays"] * (options.attention_overlays is not None)
        if given:
            way = "drop it, or --method averaged" if options.method == "averaged" else "give a motion LoRA, --motion"
            raise ValueError(f"{', '.join(given)}: only collaborative sampling has this; {way}")


def _plain_fields() -> set[str]:
    return {field.name for field in dataclasses.fields(SamplingConfig)}


def _save_overlays(path: Path, result: Any) -> None:
    from ..data.contact_sheet import contact_sheet
    from ..data.overlay import overlay

    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [f"Where the subject branch sees {word}" for word in result.words]
    contact_sheet(list(overlay(result.video, result.maps)), labels, scale=2).save(path)
