"""The command that learns a motion: train-motion."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ..config import MotionConfig
from .common import open_base
from .fields import subjects_of_clips
from .segmenter_options import add_segmenter, segmenter_of
from .training_options import add_training, save_result, say, stage_arguments, training_settings, warn


def add_train_motion(commands: Any) -> None:
    """Register ``train-motion`` and its flags."""
    parser = commands.add_parser(
        "train-motion",
        help="train a motion LoRA from a clip, without the appearance of its subjects",
        description="Learn a motion from one or more clips (Eq. 5).  Stopped, the same command resumes.",
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
    preset, config = training_settings(options, "motion")
    subjects = subjects_of_clips(options.subject, len(options.clips))
    from ..data.augmentation import needed_size
    from ..data.examples import load_motion_clip
    from ..data.training_inputs import motion_inputs
    from ..model.text import require_plain_words
    from ..stages.motion_lora import require_subjects, train_motion

    require_plain_words(options.prompt)
    warn([options.prompt])
    segmenter = segmenter_of(options)
    size = needed_size(config, segmenter is not None)
    clips = [
        dataclasses.replace(load_motion_clip(path, pairs, config.frames, options.fps, size), segmenter=segmenter)
        for path, pairs in zip(options.clips, subjects, strict=True)
    ]
    say(motion_inputs(clips, options.clips))
    require_subjects(clips, config)
    backbone = open_base(options, config, [options.prompt])
    arguments = stage_arguments(options, preset, config)
    save_result(options, train_motion(backbone, clips, options.prompt, config, **arguments))
