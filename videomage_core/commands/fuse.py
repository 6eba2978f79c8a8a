"""The command that fuses subjects: fuse."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import FusionConfig
from .common import open_base
from .fields import cutout_of, trigger_of
from .segmenter_options import add_segmenter, segmenter_of
from .training_options import add_training, save_result, say, stage_arguments, training_settings

if TYPE_CHECKING:
    from ..data.lora_file import LoraModel


def add_fuse(commands: Any) -> None:
    """Register ``fuse`` and its flags."""
    parser = commands.add_parser(
        "fuse",
        help="fuse the LoRAs of several subjects into one",
        description="Fuse the LoRAs of several subjects into one (Eq. 6-8).  Stopped, the same command resumes.",
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
    preset, config = training_settings(options, "fusion")
    from ..data.lora_file import load_lora
    from ..stages.fusion import check_subjects, fuse_subjects

    prompts = _prompts(options, preset)
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
    external = _load_external(backbone, triggers)
    subjects = _with_cutouts([own[path] if path in own else external[path] for path in options.loras], clips)
    own_clips = f", {len(clips)} clips cut out by masks" if clips else ""
    say(f"{len(subjects)} subjects ({', '.join(subject.tokens[0].name for subject in subjects)}){own_clips}")
    arguments = stage_arguments(options, preset, config)
    fused = fuse_subjects(backbone, subjects, config, prompts=prompts, segmenter=segmenter, **arguments)
    save_result(options, fused)


def _prompts(options: argparse.Namespace, preset: Any) -> Any:
    """The preset's prompts, with those that were given."""
    prompts = preset.prompts
    if options.teacher_prompt:
        prompts = dataclasses.replace(prompts, teacher=tuple(options.teacher_prompt))
    return dataclasses.replace(prompts, cutmix=options.cutmix_prompt) if options.cutmix_prompt else prompts


def _load_external(backbone: Any, triggers: Mapping[Path, tuple[str, str]]) -> dict[Path, LoraModel]:
    """Ordinary LoRAs as subjects; says how each is scaled."""
    from ..data.external_lora import load_external_lora

    loras = {path: load_external_lora(backbone, path, *words) for path, words in triggers.items()}
    for path, lora in loras.items():
        print(f"{path.name}: {lora.details['scale']}")
    return loras


def _with_cutouts(subjects: list[LoraModel], clips: Sequence[tuple[str, Any, Any]]) -> list[LoraModel]:
    """The subjects with the clips and masks that were given of them.

    Raises:
        ValueError: a clip of a token that no LoRA has.
    """
    from ..stages.fusion_data import add_cutout

    for token, pixels, mask in clips:
        numbers = [n for n, subject in enumerate(subjects) if subject.tokens[0].name == token]
        if not numbers:
            known = ", ".join(subject.tokens[0].name for subject in subjects)
            raise ValueError(f"--cutout: got a clip of {token}, the LoRAs have {known}; name one of these")
        subjects[numbers[0]] = add_cutout(subjects[numbers[0]], pixels, mask)
    return subjects
