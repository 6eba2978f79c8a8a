"""The command that learns a motion: train-motion."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import MotionConfig
from .common import load_base, preset_of
from .segmenter_options import add_segmenter, segmenter_of
from .settings import read_settings
from .training_options import (
    add_training,
    check_training,
    sampling_config,
    save_result,
    training_callbacks,
    work_folder,
)


def add_train_motion(commands: Any) -> None:
    parser = commands.add_parser(
        "train-motion",
        help="train a motion LoRA from a clip, without the appearance of its subjects",
        description="Learn a motion from one or more clips (Eq. 5).  Stopped, the same command goes on where it was.",
    )
    parser.add_argument("clips", type=Path, nargs="+", help="video files, or folders of numbered images")
    parser.add_argument("--prompt", required=True, help="the motion in plain words, e.g. 'A person is riding a horse'")
    parser.add_argument(
        "--subject",
        action="append",
        default=[],
        metavar="WORD[=MASKS]",
        help="who is seen, once for each, e.g. person=person_masks.mp4; masks are white on the subject, as long as the "
        "clip, one for each clip, with commas; without them a single subject on a plain background is found",
    )
    parser.add_argument("--fps", type=float, help="rate at which frames are taken (default: spread over the clip)")
    add_segmenter(parser, "cuts the subjects without masks out of one frame, by their words")
    add_training(parser, MotionConfig, "outputs/loras/motion.safetensors")
    parser.set_defaults(execute=_train_motion)


def _train_motion(options: argparse.Namespace) -> None:
    preset = preset_of(options)
    config = read_settings(options, preset.motion)
    check_training(options)
    subjects = _subjects_of_clips(options.subject, len(options.clips))
    from ..data.examples import load_motion_clip
    from ..model.text import require_plain_words
    from ..stages.motion_lora import require_subjects, train_motion

    require_plain_words(options.prompt)
    segmenter = segmenter_of(options)
    clips = [
        dataclasses.replace(load_motion_clip(path, pairs, config.frames, options.fps), segmenter=segmenter)
        for path, pairs in zip(options.clips, subjects, strict=True)
    ]
    require_subjects(clips, config)
    backbone = load_base(options, config, [options.prompt])
    trained = train_motion(
        backbone,
        clips,
        options.prompt,
        config,
        work_folder(options),
        sampling=sampling_config(preset, config),
        callbacks=training_callbacks(options),
    )
    save_result(options, trained)


def _subjects_of_clips(given: Sequence[str], clips: int) -> list[list[tuple[str, Path | None]]]:
    """``person=a.mp4,b.mp4`` -> who is seen in each clip, with masks where they are given."""
    subjects: list[list[tuple[str, Path | None]]] = [[] for _ in range(clips)]
    for text in given:
        word, _, files = text.partition("=")
        masks = [Path(name.strip()) for name in files.split(",")] if files else []
        if masks and len(masks) != clips:
            raise ValueError(
                f"--subject: got {len(masks)} masks for {word.strip()!r} and {clips} clips; give one for each clip, "
                "with commas: person=a_masks.mp4,b_masks.mp4"
            )
        for index in range(clips):
            subjects[index].append((word.strip(), masks[index] if masks else None))
    return subjects
