"""The command that fuses subjects: fuse."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ..config import FusionConfig
from .common import open_base, preset_of
from .fields import cutout_of, trigger_of
from .segmenter_options import add_segmenter, segmenter_of
from .settings import read_settings
from .training_options import (
    _say,
    add_training,
    check_training,
    sampling_config,
    save_result,
    training_callbacks,
    work_folder,
)


def add_fuse(commands: Any) -> None:
    parser = commands.add_parser(
        "fuse",
        help="fuse the LoRAs of several subjects into one",
        description="Fuse the LoRAs of several subjects into one (Eq. 6-8).  Stopped, the same command goes on.",
    )
    parser.add_argument("loras", type=Path, nargs="+", help="LoRA files, one for each subject")
    parser.add_argument(
        "--trigger",
        action="append",
        default=[],
        metavar="FILE=WORDS=CLASS",
        help="an ordinary LoRA (peft or kohya) as a subject: its trigger words and the kind of thing it is, "
        "e.g. 'cup.safetensors=sks cup=cup'; prompts call it <sks_cup>",
    )
    parser.add_argument("--teacher-prompt", action="append", default=[], help="with {subject}; once for each (several)")
    parser.add_argument("--cutmix-prompt", help="with {subject}: it alone on a plain background")
    parser.add_argument(
        "--cutout",
        action="append",
        default=[],
        metavar="TOKEN=CLIP=MASKS",
        help="a clip or folder of images of one subject and its masks, white on it, for L_attn instead of videos that "
        "its LoRA makes, e.g. '<toy>=toy.mp4=toy_masks.mp4'; once for each clip (several)",
    )
    add_segmenter(parser, "cuts each subject out of its own videos, by its superclass")
    add_training(parser, FusionConfig, "outputs/loras/fused.safetensors")
    parser.set_defaults(execute=_fuse)


def _fuse(options: argparse.Namespace) -> None:
    preset = preset_of(options)
    config = read_settings(options, preset.fusion)
    check_training(options)
    from ..data.external_lora import load_external_lora
    from ..data.lora_file import load_lora
    from ..stages.fusion import check_subjects, fuse_subjects
    from ..stages.fusion_data import add_cutout

    prompts = preset.prompts
    if options.teacher_prompt:
        prompts = dataclasses.replace(prompts, teacher=tuple(options.teacher_prompt))
    if options.cutmix_prompt:
        prompts = dataclasses.replace(prompts, cutmix=options.cutmix_prompt)
    segmenter = segmenter_of(options)
    triggers = dict(trigger_of(text) for text in options.trigger)
    strangers = [str(path) for path in triggers if path not in options.loras]
    if strangers:
        raise ValueError(f"--trigger: {', '.join(strangers)} is not among the LoRAs to fuse; name it there too")
    own = {path: load_lora(path) for path in options.loras if path not in triggers}
    if own:
        check_subjects(list(own.values()))
    clips = [cutout_of(text, config) for text in options.cutout]
    backbone = open_base(options, config, subjects=len(options.loras))
    subjects = [own[p] if p in own else load_external_lora(backbone, p, *triggers[p]) for p in options.loras]
    for path, concept in zip(options.loras, subjects, strict=True):
        if path in triggers:
            print(f"{path.name}: {concept.details['scale']}")
    for token, pixels, mask in clips:
        named = [n for n, concept in enumerate(subjects) if concept.tokens[0].name == token]
        if not named:
            known = ", ".join(concept.tokens[0].name for concept in subjects)
            raise ValueError(f"--cutout: got a clip of {token}, the LoRAs have {known}; name one of these")
        subjects[named[0]] = add_cutout(subjects[named[0]], pixels, mask)
    own_clips = f", {len(clips)} clips cut out by masks" if clips else ""
    _say(f"{len(subjects)} subjects ({', '.join(concept.tokens[0].name for concept in subjects)}){own_clips}")
    fused = fuse_subjects(
        backbone,
        subjects,
        config,
        work_folder(options),
        prompts,
        segmenter,
        sampling=sampling_config(preset, config),
        callbacks=training_callbacks(options),
    )
    save_result(options, fused)
