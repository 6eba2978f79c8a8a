"""The command that makes a video: sample."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..config import CollaborativeConfig, SamplingConfig
from ..output_paths import require_output_file
from .common import add_base, file_and_strength, open_base, preset_of, terminal_callbacks
from .settings import add_settings, read_settings

if TYPE_CHECKING:
    import torch

    from ..callbacks import Callbacks
    from ..data.lora_file import LoraModel
    from ..model.text import SpecialToken
    from ..stages.collaborative_sampling import CollaborativeResult

    WithStrength: TypeAlias = tuple[LoraModel, float]


SEPARATE = ("averaged", "composed")  # methods in which each subject's LoRA acts in a pass of its own


def add_sample(commands: Any) -> None:
    """Register ``sample`` and its flags."""
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
        choices=("auto", *SEPARATE),
        default="auto",
        help="auto: collaborative sampling (SCS) with --motion, else all LoRAs in one model; averaged: each subject's "
        "--lora with the --motion in turn, outputs averaged, as the paper runs its baselines (Sec. 4.1); composed: "
        "each subject's effect on the prediction is added to that of the base with the --motion (%(default)s)",
    )
    parser.add_argument("--clip", type=Path, help="clip whose inverted noise is mixed into the initial noise")
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
    files = [file_and_strength(text) for text in options.lora]
    motion_file = file_and_strength(options.motion) if options.motion else None
    from ..data.augmentation import needed_size
    from ..data.lora_file import collect_tokens, load_lora
    from ..data.media import load_clip
    from ..model.text import prompt_warnings
    from ..stages.ddim_inversion import invert_clip

    loras = [(load_lora(path), strength) for path, strength in files]
    motion = (load_lora(motion_file[0]), motion_file[1]) if motion_file else None
    uses_clip = options.clip and config.noise_prior
    clip = load_clip(options.clip, config.frames, min_size=needed_size(config)) if uses_clip else None
    tokens = collect_tokens([lora for lora, _ in loras])
    config = _config_for(options, config, loras, motion, tokens)
    for warning in prompt_warnings(options.prompt, tokens):
        print(f"warning: {warning}", file=sys.stderr)
    backbone = open_base(options, config, [options.prompt], tokens)
    callbacks, inverted = terminal_callbacks(), None
    if clip is not None:
        inverted = invert_clip(backbone, clip.pixels, config, options.output.parent / "inverted", callbacks)
    _save(options, config, *_generate(options, config, backbone, loras, motion, inverted, callbacks))


def _config_for(
    options: argparse.Namespace,
    config: CollaborativeConfig,
    loras: Sequence[WithStrength],
    motion: WithStrength | None,
    tokens: Sequence[SpecialToken],
) -> CollaborativeConfig:
    """The settings with the strengths of the files.

    Raises:
        ValueError: LoRAs that the method cannot use together, or a prompt that does not name their subjects.
    """
    from ..stages.baselines import check_separate
    from ..stages.collaborative_sampling import check_pair, require_named

    if options.method in SEPARATE:
        check_separate([lora for lora, _ in loras], motion[0] if motion else None)
        require_named(options.prompt, tokens)
        return config
    if motion is None:
        return config
    (subject, subject_strength), (moving, motion_strength) = loras[0], motion
    check_pair(subject, moving)
    require_named(options.prompt, tokens)
    return dataclasses.replace(
        config,
        subject_strength=config.subject_strength * subject_strength,
        motion_strength=config.motion_strength * motion_strength,
    )


def _generate(
    options: argparse.Namespace,
    config: CollaborativeConfig,
    backbone: Any,
    loras: Sequence[WithStrength],
    motion: WithStrength | None,
    inverted: torch.Tensor | None,
    callbacks: Callbacks,
) -> tuple[torch.Tensor, CollaborativeResult | None]:
    """The video [3, F, H, W], and with collaborative sampling its whole result."""
    from ..stages.baselines import sample_averaged, sample_composed, sample_merged
    from ..stages.collaborative_sampling import sample_collaboratively

    prompt, seed = options.prompt, options.seed
    if options.method in SEPARATE:
        subjects = [lora for lora, _ in loras]
        moving = motion[0] if motion else None
        sample = sample_averaged if options.method == "averaged" else sample_composed
        return sample(backbone, subjects, moving, prompt, seed, config, inverted, callbacks), None
    if motion is None:
        return sample_merged(backbone, loras, prompt, seed, config, inverted, callbacks), None
    with_maps = options.attention_overlays is not None
    result = sample_collaboratively(
        backbone, loras[0][0], motion[0], prompt, seed, config, inverted, with_maps, callbacks
    )
    return result.video, result


def _save(
    options: argparse.Namespace, config: SamplingConfig, video: torch.Tensor, result: CollaborativeResult | None
) -> None:
    from ..data.media import save_video

    save_video(video, options.output, config.fps)
    print(f"wrote {options.output}")
    if result is not None and result.maps is not None:
        _save_overlays(options.attention_overlays, result)
        print(f"wrote {options.attention_overlays}")


def _check_sample(options: argparse.Namespace, config: CollaborativeConfig) -> None:
    if options.output.suffix.lower() != ".mp4":
        raise ValueError(f"--output: got {options.output}, must end in .mp4")
    require_output_file(options.output, "--output")
    separate = options.method in SEPARATE
    if separate and not options.lora:
        raise ValueError(f"--method {options.method}: got no --lora, give each subject's, and the --motion they join")
    if separate:
        given = [text for text in [*options.lora, options.motion] if text and file_and_strength(text)[1] != 1]
        if given:
            raise ValueError(
                f"--method {options.method}: got {', '.join(given)}, strengths have no place here; leave them out"
            )
    elif options.motion and len(options.lora) != 1:
        raise ValueError(
            f"--lora: got {len(options.lora)} with --motion, which takes one: a subject's or a fused one; "
            "make one of several with 'fuse', or sample them with --method composed or averaged"
        )
    if options.attention_overlays is not None and options.attention_overlays.suffix.lower() != ".png":
        raise ValueError(f"--attention-overlays: got {options.attention_overlays}, must end in .png")
    if options.attention_overlays is not None:
        require_output_file(options.attention_overlays, "--attention-overlays")
    if options.attention_overlays is not None and options.motion and not (config.tau and config.alpha):
        raise ValueError(
            "--attention-overlays: without guidance (tau or alpha is 0) no attention is looked at; drop it"
        )
    if not options.motion or separate:
        needing = [f.name for f in dataclasses.fields(CollaborativeConfig) if f.name not in _plain_fields()]
        given = [f"--{name.replace('_', '-')}" for name in needing if getattr(options, name) is not None]
        given += ["--attention-overlays"] * (options.attention_overlays is not None)
        if given:
            advice = f"drop it, or --method {options.method}" if separate else "give a motion LoRA, --motion"
            raise ValueError(f"{', '.join(given)}: only collaborative sampling has this; {advice}")


def _plain_fields() -> set[str]:
    return {field.name for field in dataclasses.fields(SamplingConfig)}


def _save_overlays(path: Path, result: Any) -> None:
    from ..data.contact_sheet import contact_sheet
    from ..data.overlay import overlay

    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [f"Where the subject branch sees {word}" for word in result.words]
    contact_sheet(list(overlay(result.video, result.maps)), labels, scale=2).save(path)
