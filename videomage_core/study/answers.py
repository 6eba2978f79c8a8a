"""What participants said: a csv file, a line a trial, on the disk before the next trial is shown.

An answer counts once: a second one to the same trial is refused.  A line that a power cut left unfinished is cut
off when the file is opened again, and its trial is asked anew.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from ..text_files import read_text
from .trials import Study, Trial

QUESTIONS = ("motion_fidelity", "subject_fidelity", "text_alignment", "video_quality")
SIDES = ("left", "right")
COLUMNS = ("time", "participant", "position", "cell", "method", "comparison", "left", *QUESTIONS)


class AnsweredAlready(ValueError):
    """This participant has answered this trial."""


class Answers:
    """The answers file of a study.

    Args:
        path: of the csv file, made with the first answer.

    Raises:
        ValueError: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        _require_utf8(path)
        _cut_unfinished(path)
        self.rows = read_answers(path) if path.is_file() and path.stat().st_size else []
        self._known = {(row["participant"], row["method"], row["comparison"], row["cell"]) for row in self.rows}

    def answered(self, study: Study, participant: str, trial: Trial) -> bool:
        """Whether the participant has answered a trial."""
        return (participant, study.method, trial.comparison, trial.cell) in self._known

    def add(self, study: Study, participant: str, trial: Trial, chosen: Mapping[str, str]) -> None:
        """Append a trial's answers and see them onto the disk.

        Args:
            study: whose trial it is.
            participant: who answers.
            trial: which.
            chosen: "left" or "right" for each of ``QUESTIONS``.

        Raises:
            AnsweredAlready: they did before.
            ValueError: not an answer to each question.
        """
        complete = isinstance(chosen, Mapping) and set(chosen) == set(QUESTIONS)
        if not complete or not all(side in SIDES for side in chosen.values()):
            raise ValueError(f"answers: got {chosen}, expected left or right for each of {', '.join(QUESTIONS)}")
        sides = dict(zip(SIDES, study.sides(participant, trial), strict=True))
        with self._lock:
            if self.answered(study, participant, trial):
                raise AnsweredAlready(f"{participant} has answered {trial.cell} already")
            row = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "participant": participant,
                "position": str(study.order_for(participant).index(trial) + 1),
                "cell": trial.cell,
                "method": study.method,
                "comparison": trial.comparison,
                "left": sides["left"],
                **{question: sides[chosen[question]] for question in QUESTIONS},
            }
            _append(self.path, row)
            self.rows.append(row)
            self._known.add((participant, study.method, trial.comparison, trial.cell))


def read_answers(path: Path) -> list[dict[str, str]]:
    """All lines; of two to one trial, which only two servers at once can write, the first.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an answers file, or a damaged line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"answers: {path} is not there; it is written as soon as somebody has answered")
    text = read_text(path, "answers")
    lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))  # whole ones
    if not lines or tuple(lines[0]) != COLUMNS:
        raise ValueError(f"answers: {path} does not begin with the columns {','.join(COLUMNS)}; choose another file")
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for number, line in enumerate(lines[1:], start=2):
        row = dict(zip(COLUMNS, line, strict=False))
        both = {row.get("method"), row.get("comparison")}
        if len(line) != len(COLUMNS) or not all(row[question] in both for question in QUESTIONS):
            raise ValueError(f"answers: line {number} of {path} is damaged ({','.join(line)}); mend or delete it")
        rows.setdefault((row["participant"], row["method"], row["comparison"], row["cell"]), row)
    return list(rows.values())


def _require_utf8(path: Path) -> None:
    """What is appended is UTF-8, and one file is in one encoding."""
    if path.is_file():
        try:
            codecs.getincrementaldecoder("utf-8")().decode(path.read_bytes())  # its end may be half a character
        except UnicodeDecodeError as error:
            raise ValueError(f"answers: {path} is not UTF-8 any more ({error}); save it as CSV UTF-8") from error


def _append(path: Path, row: Mapping[str, str]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_size == 0:
        writer.writeheader()
    writer.writerow(row)
    with open(path, "ab") as file:
        file.write(text.getvalue().encode())
        file.flush()
        os.fsync(file.fileno())


def _cut_unfinished(path: Path) -> None:
    """Every whole line ends with a line feed, and no name holds one."""
    if not path.is_file():
        return
    written, header = path.read_bytes(), ",".join(COLUMNS).encode() + b"\n"
    whole = written.rfind(b"\n") + 1
    if whole < len(written) and (written.startswith(header) or header.startswith(written)):
        os.truncate(path, whole)
