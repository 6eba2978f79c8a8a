"""The command line: ``python -m videomage_core COMMAND --help``.

Exit codes: 0 done; 2 bad input, nothing was started; 1 it failed on the way (disk, memory); 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .config import EMOJI_SAMPLING, SamplingConfig
from .run import Cancelled, Run

FAULT, BAD_INPUT, STOPPED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m videomage_core", description="Multi-subject and motion customization of text-to-video models."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_sample(commands)
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
        print("\nstopped", file=sys.stderr)
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


def _add_sample(commands: Any) -> None:
    parser = commands.add_parser(
        "sample",
        help="make a video from a prompt",
        description="Make a video from a prompt.  Sizes and steps default to the embedded base's, "
        "or with --base to the paper's.",
    )
    parser.add_argument("prompt", help='what to show, e.g. "a dog is chasing a cat on grass"')
    parser.add_argument("--base", type=Path, help="folder of a base in diffusers layout (default: the embedded base)")
    parser.add_argument("--output", type=Path, default=Path("outputs/sample.mp4"), help="mp4 file (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same video (%(default)s)")
    parser.add_argument("--dtype", default="auto", help="auto, fp32, fp16 or bf16 (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (%(default)s)")
    add_settings(parser, SamplingConfig)
    parser.set_defaults(execute=_sample)


def _sample(options: argparse.Namespace) -> None:
    config = read_settings(options, EMOJI_SAMPLING if options.base is None else SamplingConfig())
    from .data.media import save_video
    from .model.unet3d import EMOJI_BASE, check_size, load_unet3d
    from .sampling import generate_videos

    base = options.base or EMOJI_BASE
    if options.output.suffix.lower() != ".mp4":
        raise ValueError(f"--output: got {options.output}, must end in .mp4")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    check_size(base, config.height, config.width)
    backbone = load_unet3d(base, options.dtype, options.device)
    video = generate_videos(backbone, [options.prompt], [options.seed], config, terminal_run())[0]
    save_video(video, options.output, config.fps)
    print(f"wrote {options.output}")


def add_settings(parser: argparse.ArgumentParser, config: type) -> None:
    """A flag for each field of a config; left out, the field keeps its default."""
    group = parser.add_argument_group("settings")
    for field in dataclasses.fields(config):
        kind: Callable[[str], Any] = type(field.default)
        flag = f"--{field.name.replace('_', '-')}"
        group.add_argument(flag, type=kind, default=None, metavar=field.name.upper(), help=field.metadata["help"])


def read_settings(options: argparse.Namespace, default: SamplingConfig) -> SamplingConfig:
    """``default`` with the flags that were given."""
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(default)}
    return dataclasses.replace(default, **{name: value for name, value in given.items() if value is not None})


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
