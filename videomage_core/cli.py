"""The command line: ``python -m videomage_core COMMAND --help``.

Exit codes: 0 done; 2 bad input, nothing was started; 1 it failed on the way (disk, memory); 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .config import MotionConfig, SamplingConfig, SubjectConfig
from .run import Cancelled, Run

FAULT, BAD_INPUT, STOPPED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m videomage_core", description="Multi-subject and motion customization of text-to-video models."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_train_subject(commands)
    _add_train_motion(commands)
    _add_sample(commands)
    _add_inspect(commands)
    options = parser.parse_args(arguments)
    try:
        options.execute(options)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed; pip install -r requirements.txt", file=sys.stderr)
        return BAD_INPUT
    except Cancelled:
        return STOPPED
    except (OSError, RuntimeError) as error:  # a full disk, a GPU out of memory
        print(f"error: {error}", file=sys.stderr)
        return FAULT
    except KeyboardInterrupt:
        resumes = " What was learned is saved; the same command goes on." if options.command.startswith("train") else ""
        print(f"\nstopped.{resumes}", file=sys.stderr)
        return STOPPED
    return 0


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="make videos from prompts with the embedded base",
        description="Make videos from a few prompts with the embedded base, and one sheet to look at.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/demo"), help="folder for what is made")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first video; each next one adds 1")
    parser.set_defaults(execute=_demo)


def _demo(options: argparse.Namespace) -> None:
    from .demo import run_demo

    run_demo(options.output, options.seed, terminal_run())


def _add_train_subject(commands: Any) -> None:
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
    _add_training(parser, SubjectConfig, "outputs/loras/subject.safetensors")
    parser.set_defaults(execute=_train_subject)


def _train_subject(options: argparse.Namespace) -> None:
    preset = _preset(options)
    config = read_settings(options, preset.subject)
    _check_training(options)
    from .data.examples import load_captioned_clips, load_subject_images
    from .model.text import check_token
    from .stages.subject_lora import train_subject

    check_token(options.token, options.superclass)
    images = load_subject_images(options.images, options.masks)
    auxiliary = []
    if options.auxiliary is not None:
        auxiliary = load_captioned_clips(options.auxiliary, config.auxiliary_frames, config.height, config.width)
    backbone = _load_base(options, config.height, config.width)
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
        sampling=preset.sampling if config.sample_every else None,
        run=_training_run(options),
    )
    _save(options, trained)


def _add_train_motion(commands: Any) -> None:
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
        "clip; without them a single subject on a plain background is found",
    )
    parser.add_argument("--fps", type=float, help="rate at which frames are taken (default: spread over the clip)")
    _add_training(parser, MotionConfig, "outputs/loras/motion.safetensors")
    parser.set_defaults(execute=_train_motion)


def _train_motion(options: argparse.Namespace) -> None:
    preset = _preset(options)
    config = read_settings(options, preset.motion)
    _check_training(options)
    subjects = {}
    for text in options.subject:
        word, _, masks = text.partition("=")
        subjects[word.strip()] = Path(masks) if masks else None
    from .data.examples import load_motion_clip
    from .stages.motion_lora import train_motion

    clips = [load_motion_clip(path, subjects, config.frames, options.fps) for path in options.clips]
    backbone = _load_base(options, config.height, config.width)
    trained = train_motion(
        backbone,
        clips,
        options.prompt,
        config,
        _work_folder(options),
        sampling=preset.sampling if config.sample_every else None,
        run=_training_run(options),
    )
    _save(options, trained)


def _add_training(parser: argparse.ArgumentParser, config: type, output: str) -> None:
    _add_base(parser)
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
    folder, count = _work_folder(options), iter(range(1, 1_000_000))

    def preview(video: Any) -> None:
        from .data.media import save_video

        save_video(video, folder / f"sample_{next(count):03}.mp4", 8.0)

    return dataclasses.replace(terminal_run(), preview=preview)


def _save(options: argparse.Namespace, trained: Any) -> None:
    from .data.lora_file import save_lora

    save_lora(options.output, trained.concept)
    losses = trained.history.losses["loss"]
    print(f"wrote {options.output}: {len(losses)} steps, mean loss of the last tenth {mean_of_last_tenth(losses):.4f}")


def mean_of_last_tenth(values: Sequence[float]) -> float:
    """A single step's loss says little: its noise level was drawn at random."""
    last = values[-max(1, len(values) // 10) :]
    return sum(last) / len(last)


def _add_sample(commands: Any) -> None:
    parser = commands.add_parser(
        "sample",
        help="make a video from a prompt, with or without LoRAs",
        description="Make a video from a prompt.",
    )
    parser.add_argument("prompt", help='what to show, e.g. "a dog is chasing a cat on grass"')
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="a LoRA file, once for each; all act together on one model (the paper's 'without SCS')",
    )
    _add_base(parser)
    parser.add_argument("--output", type=Path, default=Path("outputs/sample.mp4"), help="mp4 file (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same video (%(default)s)")
    parser.add_argument("--settings", type=Path, help="TOML file of settings, named as the flags below; flags win")
    add_settings(parser, SamplingConfig)
    parser.set_defaults(execute=_sample)


def _sample(options: argparse.Namespace) -> None:
    config = read_settings(options, _preset(options).sampling)
    if options.output.suffix.lower() != ".mp4":
        raise ValueError(f"--output: got {options.output}, must end in .mp4")
    loras = [file_and_strength(text) for text in options.lora]
    from .data.lora_file import applied, load_lora
    from .data.media import save_video
    from .sampling import generate_videos

    concepts = [(load_lora(path), strength) for path, strength in loras]
    backbone = _load_base(options, config.height, config.width)
    with applied(backbone, concepts) as tokens:
        video = generate_videos(backbone, [options.prompt], [options.seed], config, terminal_run(), tokens)[0]
    save_video(video, options.output, config.fps)
    print(f"wrote {options.output}")


def file_and_strength(text: str) -> tuple[Path, float]:
    """``a.safetensors:0.8`` -> (a.safetensors, 0.8); the strength is 1 where none is given."""
    name, colon, number = text.rpartition(":")
    if not colon or number.endswith(".safetensors"):
        return Path(text), 1.0
    try:
        return Path(name), float(number)
    except ValueError as error:
        raise ValueError(f"--lora: got {text!r}, write FILE or FILE:STRENGTH, e.g. toy.safetensors:0.8") from error


def _add_inspect(commands: Any) -> None:
    parser = commands.add_parser(
        "inspect", help="say what a LoRA file holds", description="Say what a LoRA file holds."
    )
    parser.add_argument("file", type=Path, help="a .safetensors file made by VideoMage")
    parser.set_defaults(execute=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from .data.lora_file import describe, load_lora

    print(describe(load_lora(options.file)))


def _add_base(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", type=Path, help="folder of a base in diffusers layout (default: the embedded base)")
    parser.add_argument(
        "--preset",
        choices=("paper", "emoji"),
        help="where settings start from: paper (default with --base), or emoji (default without)",
    )
    parser.add_argument("--dtype", default="auto", help="auto, fp32, fp16 or bf16 (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (%(default)s)")


def _preset(options: argparse.Namespace) -> Any:
    from .presets import PRESETS

    return PRESETS[options.preset or ("emoji" if options.base is None else "paper")]


def _load_base(options: argparse.Namespace, height: int, width: int) -> Any:
    from .model.unet3d import EMOJI_BASE, check_size, load_unet3d

    folder = options.base or EMOJI_BASE
    check_size(folder, height, width)
    return load_unet3d(folder, options.dtype, options.device)


def add_settings(parser: argparse.ArgumentParser, config: type) -> None:
    """A flag for each field of a config; left out, the field keeps its default."""
    group = parser.add_argument_group("settings", "defaults are the paper's; the emoji preset has its own")
    for field in dataclasses.fields(config):
        flag = f"--{field.name.replace('_', '-')}"
        text = f"{field.metadata['help']} [{field.default}]".replace("%", "%%")
        if isinstance(field.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
            continue
        kind: Callable[[str], Any] = type(field.default)
        group.add_argument(
            flag, type=kind, default=None, choices=field.metadata["choices"], metavar=field.name.upper(), help=text
        )


def read_settings(options: argparse.Namespace, default: Any) -> Any:
    """``default`` with the settings file's values, and over them the flags that were given."""
    fields = {field.name: field for field in dataclasses.fields(default)}
    values = _read_toml(options.settings, fields) if options.settings is not None else {}
    flags = {name: getattr(options, name) for name in fields}
    values.update({name: value for name, value in flags.items() if value is not None})
    return dataclasses.replace(default, **values)


def _read_toml(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"--settings: {path} is no TOML ({error})") from error
    values = {name.replace("-", "_"): value for name, value in read.items()}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"--settings: {path} has {', '.join(unknown)}; known are {', '.join(fields)}")
    for name, value in values.items():
        kind = type(fields[name].default)
        if type(value) is int and kind is float:
            values[name] = float(value)
        elif type(value) is not kind:
            raise ValueError(f"--settings: {name} in {path} is {value!r}, must be a {kind.__name__}")
    return values


def terminal_run() -> Run:
    """Progress as one line that rewrites itself, with steps per second and the time left."""
    began: dict[str, float] = {}

    def progress(done: int, total: int, what: str) -> None:
        started = began.setdefault(what, time.monotonic())
        rate = (done - 1) / max(1e-9, time.monotonic() - started)
        timing = f"{rate:.1f} it/s, {(total - done) / rate:.0f} s left" if done > 1 else ""
        end = "\n" if done == total else ""
        print(f"\r{what}: {done}/{total} {timing:30}", end=end, file=sys.stderr, flush=True)
        if done == total:
            del began[what]

    return Run(progress=progress, log=print)
