"""The command line: ``python -m videomage_core COMMAND --help``.

Exit codes: 0 done; 2 bad input, nothing was started; 1 it failed on the way (disk, memory); 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .callbacks import Cancelled
from .commands.benchmark import add_benchmark
from .commands.demo import add_demo
from .commands.evaluate import add_evaluate
from .commands.fuse import add_fuse
from .commands.inspect import add_inspect
from .commands.merge import add_merge
from .commands.rename import add_rename
from .commands.sample import add_sample
from .commands.segment import add_segment
from .commands.study import add_study
from .commands.train_motion import add_train_motion
from .commands.train_subject import add_train_subject

FAULT, BAD_INPUT, STOPPED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.execute(options)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed; pip install -r requirements.txt", file=sys.stderr)
        return BAD_INPUT
    except ImportError as error:  # of a package that only some commands need
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except Cancelled:
        return STOPPED
    except (OSError, RuntimeError, MemoryError, ArithmeticError) as error:  # a full disk, no memory, a loss of NaN
        from .model.memory import is_out_of_memory

        advice = f"\n{_oom_hint(options)}" if is_out_of_memory(error) else ""
        print(f"error: {error}{advice}", file=sys.stderr)
        return FAULT
    except KeyboardInterrupt:
        resumes = " What was learned is saved; the same command resumes." if options.command != "sample" else ""
        print(f"\nstopped.{resumes}", file=sys.stderr)
        return STOPPED
    return 0


def _parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``execute``, what runs it."""
    parser = argparse.ArgumentParser(
        prog="python -m videomage_core", description="Multi-subject and motion customization of text-to-video models."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_demo(commands)
    add_train_subject(commands)
    add_train_motion(commands)
    add_fuse(commands)
    add_merge(commands)
    add_sample(commands)
    add_study(commands)
    add_segment(commands)
    add_inspect(commands)
    add_rename(commands)
    add_evaluate(commands)
    add_benchmark(commands)
    return parser


def _oom_hint(options: argparse.Namespace) -> str:
    """What makes a command take less memory, of the settings that it has."""
    sizes = ("frames", "auxiliary_frames", "height", "width", "batch_size")
    lower = ", ".join(f"--{name.replace('_', '-')}" for name in sizes if hasattr(options, name))
    goes_on = "; a training then resumes from its last checkpoint" if hasattr(options, "save_every_n_steps") else ""
    remedies = [f"use --memory low{goes_on}"] if getattr(options, "memory", "low") != "low" else []
    remedies += [f"lower {lower}" + (", with another --output" if goes_on else "")] if lower else []
    return f"Out of memory: {', or '.join([*remedies, 'close other programs'])}."
