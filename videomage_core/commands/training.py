"""Commands that make LoRA files: train-subject, train-motion, fuse."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import FusionConfig, MotionConfig, SubjectConfig
from ..run import Run
from .common import add_base, load_base, preset_of, terminal_run
from .segmenting import add_segmenter, segmenter_of
from .settings import add_settings, read_settings


def add_train_subject(commands: Any) -> None:
    parser = commands.add_parser(
        "train-subject",
        help="learn a subject from a few pictures",
        description="Learn a subject from a few pictures (Eq. 2-4).  Stopped, the same command goes on where it was.",
    )
    parser.add_argument("images", type=Path, help="folder of pictures; a .txt beside one is its own prompt")
    parser.add_argument("--token", required=True, help="the new word, in angle brackets, e.g. '<toy>'")
    parser.add_argument("--superclass", required=True, help="the kind of thing, in plain words, e.g. 'stuffed animal'")
    parser.add_argument("--prompt", help="what the pictures show, with the token (default: 'A <token>')")
    parser.add_argument("--masks", type=Path, help="folder of masks named as the pictures, white on the subject")
    parser.add_argument("--auxiliary", type=Path, help="folder of other clips with captions (default: the base's own)")
    add_segmenter(parser, "finds the subject by its superclass in each picture without a mask")
    add_training(parser, SubjectConfig, "outputs/loras/subject.safetensors")
    parser.set_defaults(execute=_train_subject)


def _train_subject(options: argparse.Namespace) -> None:
    preset = preset_of(options)
    config = read_settings(options, preset.subject)
    _check_training(options)
    import torch

    from ..data.examples import load_captioned_clips, load_subject_images, masked
    from ..model.text import SpecialToken, check_token
    from ..stages.subject_lora import require_token, train_subject

    check_token(options.token, options.superclass)
    segmenter = segmenter_of(options)
    images = masked(load_subject_images(options.images, options.masks), options.superclass, segmenter, terminal_run())
    auxiliary = []
    if options.auxiliary is not None:
        auxiliary = load_captioned_clips(options.auxiliary, config.auxiliary_frames, config.height, config.width)
    prompts = [options.prompt or f"A {options.token}", *(image.prompt for image in images if image.prompt)]
    placeholder = SpecialToken(options.token, torch.zeros(config.token_vectors, 1), options.superclass)
    for prompt in prompts:
        require_token(prompt, options.token)
    backbone = load_base(options, config, prompts, [placeholder])
    trained = train_subject(
        backbone,
        images,
        options.token,
        options.superclass,
        config,
        _work_folder(options),
        prompt=options.prompt,
        auxiliary=auxiliary,
        captions=preset.captions,
        sampling=_looks(preset, config),
        run=_training_run(options),
    )
    _save(options, trained)


def add_train_motion(commands: Any) -> None:
    parser = commands.add_parser(
        "train-motion",
        help="learn a motion from a clip, not the looks of who performs it",
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
    _check_training(options)
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
        _work_folder(options),
        sampling=_looks(preset, config),
        run=_training_run(options),
    )
    _save(options, trained)


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
    _check_training(options)
    from ..data.foreign_lora import load_foreign_lora
    from ..data.lora_file import load_lora
    from ..stages.fusion import check_subjects, fuse_subjects
    from ..stages.teachers import with_clip

    prompts = preset.prompts
    if options.teacher_prompt:
        prompts = dataclasses.replace(prompts, teacher=tuple(options.teacher_prompt))
    if options.cutmix_prompt:
        prompts = dataclasses.replace(prompts, cutmix=options.cutmix_prompt)
    segmenter = segmenter_of(options)
    triggers = dict(_trigger(text) for text in options.trigger)
    strangers = [str(path) for path in triggers if path not in options.loras]
    if strangers:
        raise ValueError(f"--trigger: {', '.join(strangers)} is not among the LoRAs to fuse; name it there too")
    own = {path: load_lora(path) for path in options.loras if path not in triggers}
    if own:
        check_subjects(list(own.values()))
    clips = [_cutout(text, config.frames) for text in options.cutout]
    backbone = load_base(options, config, subjects=len(options.loras))
    subjects = [own[p] if p in own else load_foreign_lora(backbone, p, *triggers[p]) for p in options.loras]
    for token, pixels, mask in clips:
        named = [n for n, concept in enumerate(subjects) if concept.tokens[0].name == token]
        if not named:
            known = ", ".join(concept.tokens[0].name for concept in subjects)
            raise ValueError(f"--cutout: got a clip of {token}, the LoRAs have {known}; name one of these")
        subjects[named[0]] = with_clip(subjects[named[0]], pixels, mask)
    fused = fuse_subjects(
        backbone,
        subjects,
        config,
        _work_folder(options),
        prompts,
        segmenter,
        sampling=_looks(preset, config),
        run=_training_run(options),
    )
    _save(options, fused)


def _cutout(text: str, frames: int) -> tuple[str, Any, Any]:
    """The token, and its clip and mask."""
    from ..data.examples import load_motion_clip

    parts = [part.strip() for part in text.split("=")]
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"--cutout: got {text!r}, write TOKEN=CLIP=MASKS, e.g. '<toy>=toy.mp4=toy_masks.mp4'")
    clip = load_motion_clip(Path(parts[1]), [(parts[0], Path(parts[2]))], frames)
    assert clip.masks is not None
    return parts[0], clip.pixels, clip.masks[0]


def _trigger(text: str) -> tuple[Path, tuple[str, str]]:
    parts = text.split("=")
    if len(parts) != 3 or not all(part.strip() for part in parts):
        raise ValueError(f"--trigger: got {text!r}, write FILE=WORDS=CLASS, e.g. cup.safetensors='sks cup'=cup")
    return Path(parts[0]), (parts[1].strip(), parts[2].strip())


def add_training(parser: argparse.ArgumentParser, config: type, output: str) -> None:
    add_base(parser)
    parser.add_argument("--output", type=Path, default=Path(output), help="the LoRA file (%(default)s)")
    parser.add_argument("--settings", type=Path, help="TOML file of settings, named as the flags below; flags win")
    add_settings(parser, config)


def _check_training(options: argparse.Namespace) -> None:
    if options.output.suffix != ".safetensors":
        raise ValueError(f"--output: got {options.output}, must end in .safetensors")


def _work_folder(options: argparse.Namespace) -> Path:
    """Checkpoints lie beside the LoRA file, in a folder of its name."""
    return options.output.with_suffix(".training")


def _training_run(options: argparse.Namespace) -> Run:
    """Progress in the terminal; previews go to the training's folder."""
    from ..spread import current

    if not current().first:  # of several processes one speaks
        return Run(log=lambda _: None)
    folder = _work_folder(options)
    count = itertools.count(1 + len(list(folder.glob("sample_*.mp4"))))  # a resumed training goes on counting

    def preview(video: Any) -> None:
        from ..data.media import save_video

        save_video(video, folder / f"sample_{next(count):03}.mp4", 8.0)

    return dataclasses.replace(terminal_run(), preview=preview)


def _looks(preset: Any, config: Any) -> Any:
    """How samples are made: as the preset does, at the training's size.  The last one is the file's thumbnail."""
    return dataclasses.replace(preset.sampling, height=config.height, width=config.width)


def _save(options: argparse.Namespace, trained: Any) -> None:
    from ..data.lora_file import save_lora
    from ..data.media import save_video
    from ..spread import current

    if not current().first:
        return
    save_lora(options.output, trained.concept)
    losses = trained.history.losses.get("loss", [])
    if trained.sample is not None:
        save_video(trained.sample, _work_folder(options) / "sample.mp4", 8.0)
    last = f", mean loss of the last tenth {mean_of_last_tenth(losses):.4f}" if losses else ""
    print(f"wrote {options.output}: {len(losses)} steps{last}")


def mean_of_last_tenth(values: Sequence[float]) -> float:
    """A single step's loss says little: its noise level was drawn at random."""
    last = values[-max(1, len(values) // 10) :]
    return sum(last) / len(last)
