"""The command that learns a subject: train-subject."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..config import SubjectConfig
from .common import open_base
from .segmenter_options import add_segmenter, segmenter_of
from .training_options import add_training, save_result, say, stage_arguments, training_settings, warn


def add_train_subject(commands: Any) -> None:
    """Register ``train-subject`` and its flags."""
    parser = commands.add_parser(
        "train-subject",
        help="train a subject LoRA from a few images",
        description="Learn a subject from a few images (Eq. 2-4).  Stopped, the same command resumes.",
    )
    parser.add_argument("images", type=Path, help="folder of images; a .txt beside one is its own prompt")
    parser.add_argument("--token", required=True, help="the new word, in angle brackets, e.g. '<toy>'")
    parser.add_argument("--superclass", required=True, help="the kind of thing, in plain words, e.g. 'stuffed animal'")
    parser.add_argument("--prompt", help="what the images show, with the token (default: 'A <token>')")
    parser.add_argument("--masks", type=Path, help="folder of masks named as the images, white on the subject")
    parser.add_argument("--auxiliary", type=Path, help="folder of other clips with captions (default: the base's own)")
    add_segmenter(parser, "finds the subject by its superclass in each image without a mask")
    add_training(parser, SubjectConfig, "outputs/loras/subject.safetensors")
    parser.set_defaults(execute=_train_subject)


def _train_subject(options: argparse.Namespace) -> None:
    preset, config = training_settings(options, "subject")
    import torch

    from ..data.augmentation import needed_size
    from ..data.examples import load_subject_images
    from ..data.training_inputs import subject_inputs
    from ..model.text import SpecialToken, check_token
    from ..stages.subject_lora import require_token, train_subject

    check_token(options.token, options.superclass)
    segmenter = segmenter_of(options)
    images = load_subject_images(options.images, options.masks, needed_size(config, segmenter is not None))
    say(subject_inputs(images, options.images, options.masks, segmenter is not None))
    auxiliary = _auxiliary_clips(options, config)
    prompts = [options.prompt or f"A {options.token}", *(image.prompt for image in images if image.prompt)]
    placeholder = SpecialToken(options.token, torch.zeros(config.num_vectors_per_token, 1), options.superclass)
    for prompt in prompts:
        require_token(prompt, options.token)
    warn(prompts)
    backbone = open_base(options, config, prompts, [placeholder])
    trained = train_subject(
        backbone,
        images,
        options.token,
        options.superclass,
        config,
        prompt=options.prompt,
        auxiliary=auxiliary,
        captions=preset.captions,
        segmenter=segmenter,
        **stage_arguments(options, preset, config),
    )
    save_result(options, trained)


def _auxiliary_clips(options: argparse.Namespace, config: SubjectConfig) -> list[Any]:
    """The clips for L_reg that were given; none: the base makes its own."""
    if options.auxiliary is None:
        return []
    from ..data.examples import load_captioned_clips
    from ..data.training_inputs import clip_inputs

    clips = load_captioned_clips(options.auxiliary, config.auxiliary_frames, config.height, config.width)
    say(clip_inputs(clips, options.auxiliary))
    return clips
