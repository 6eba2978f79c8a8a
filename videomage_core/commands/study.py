"""The command that asks people: study."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from ..output_paths import require_output_file


def add_study(commands: Any) -> None:
    """Register ``study`` and its flags."""
    from ..study import trials

    layout = (trials.__doc__ or "").split("\n\n")[1]
    parser = commands.add_parser(
        "study",
        help="run a human preference study, or summarize its answers",
        description="The human preference study of Sec. 7.2: a page on this machine that shows a method's videos "
        "beside those of others.\n\n" + layout,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="videos and references, laid out as above")
    parser.add_argument("--method", default="VideoMage", help="the method the others are compared with (%(default)s)")
    parser.add_argument("--answers", type=Path, help="the csv file of the answers (FOLDER/answers.csv)")
    parser.add_argument("--port", type=int, default=8363, help="of the page; 0 takes a free one (%(default)s)")
    parser.add_argument("--summary", action="store_true", help="print a summary of the answers and exit")
    parser.set_defaults(execute=_study)


def _study(options: argparse.Namespace) -> None:
    from ..study.answers import Answers, read_answers
    from ..study.totals import report
    from ..study.trials import load_study

    path = options.answers or options.folder / "answers.csv"
    if path.suffix.lower() != ".csv":
        raise ValueError(f"--answers: got {path}, must end in .csv")
    if options.summary:
        print(report(read_answers(path)))
        return
    if not 0 <= options.port <= 65535:
        raise ValueError(f"--port: got {options.port}, allowed is 0 to 65535")
    require_output_file(path, "--answers")
    study = load_study(options.folder, options.method)
    answers = Answers(path)
    from ..study.server import StudyServer

    try:
        server = StudyServer(study, answers, options.port)
    except OSError as error:
        raise ValueError(
            f"--port: {options.port} cannot be had ({error}); choose another, or 0 for a free one"
        ) from error
    with server, contextlib.suppress(KeyboardInterrupt):
        print(f"{len(study.cells)} cells, {options.method} beside {', '.join(study.comparisons)}; answers in {path}")
        print(f"open {server.address} in a browser on this machine; Ctrl-C ends it", flush=True)
        server.serve_forever()
    print(f"\nstopped; {len(answers.rows)} answers are in {path}, --summary counts them")
