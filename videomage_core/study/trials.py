"""What a study shows (Sec. 7.2): two videos of one cell, its references, and which stands where for whom.

    FOLDER/METHOD/CELL.mp4         (or .webm, .gif) every method's video of every cell
    FOLDER/references/CELL/        images of the subjects (png, jpg, webp), one clip of the motion (mp4, webm,
                                   gif), and prompt.txt, what the videos were asked to show
    FOLDER/answers.csv             what participants said; written here

A trial is a cell and a method that is compared with the method of interest.  Order and sides are random, but
decided by the participant's name alone: a digest of name and trial.  So they are the same when somebody comes back,
and stay so when cells are added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..folders import files_in, folders_in
from ..text_files import read_text

CLIPS = (".mp4", ".webm", ".gif")
IMAGES = (".png", ".jpg", ".jpeg", ".webp")
REFERENCES, PROMPT = "references", "prompt.txt"
LAYOUT = (
    "expected FOLDER/METHOD/CELL.mp4 for two or more methods, and FOLDER/references/CELL/ with images of the "
    "subjects, one clip of the motion and prompt.txt"
)


@dataclass(frozen=True)
class Cell:
    """What both videos of a trial were made of."""

    prompt: str
    images: tuple[Path, ...]
    clip: Path


@dataclass(frozen=True)
class Trial:
    """A cell, and the method whose video stands beside that of the method of interest."""

    cell: str
    comparison: str


@dataclass(frozen=True)
class Study:
    """A study's folder, read and checked.

    Attributes:
        folder: holds all files.
        method: the method of interest.
        cells: by name.
        videos: by method and cell.
    """

    folder: Path
    method: str
    cells: Mapping[str, Cell]
    videos: Mapping[tuple[str, str], Path]

    @property
    def comparisons(self) -> list[str]:
        """The methods that the study's is compared with, sorted."""
        return sorted({name for name, _ in self.videos} - {self.method})

    def order_for(self, participant: str) -> list[Trial]:
        """All trials in this participant's order."""
        trials = [Trial(cell, other) for other in self.comparisons for cell in self.cells]
        return sorted(trials, key=lambda trial: _draw("order", participant, trial))

    def sides(self, participant: str, trial: Trial) -> tuple[str, str]:
        """The methods that this participant sees on the left and on the right."""
        both = (self.method, trial.comparison)
        return both if _draw("side", participant, trial)[0] & 1 else both[::-1]


def _draw(what: str, participant: str, trial: Trial) -> bytes:
    return hashlib.sha256("\0".join((what, participant, trial.comparison, trial.cell)).encode()).digest()


def load_study(folder: Path, method: str) -> Study:
    """Read a study's folder.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: something is missing, too many or leads out of the folder; all of it in one message.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"study: {folder} is not a folder; {LAYOUT}")
    names = sorted(path.name for path in folders_in(folder))
    methods = [name for name in names if name != REFERENCES]
    if REFERENCES not in names or len(methods) < 2:
        raise ValueError(f"study: {folder} holds the folders {', '.join(names) or '(none)'}; {LAYOUT}")
    if method not in methods:
        raise ValueError(f"--method: got {method!r}, {folder} has {', '.join(methods)}")
    problems: list[str] = []
    cells = {}
    for place in folders_in(folder / REFERENCES):
        cells[place.name] = _cell(place, problems)
    videos = {}
    for name in methods:
        for path in _files(folder / name, CLIPS):
            if (name, path.stem) in videos:
                problems.append(f"{name}/{path.stem} is there twice")
            videos[name, path.stem] = path
    problems += [f"{n}/{cell} has no {REFERENCES}/{cell}/" for n, cell in videos if cell not in cells]
    problems += [f"{n}/{cell}.mp4 is missing" for n in methods for cell in cells if (n, cell) not in videos]
    files = [*videos.values(), *(file for cell in cells.values() for file in (*cell.images, cell.clip))]
    inside = folder.resolve()
    problems += [f"{path} leads out of {folder}" for path in files if not path.resolve().is_relative_to(inside)]
    problems += [f"{name!r} is no name for a line of text" for name in (*methods, *cells) if not name.isprintable()]
    if not cells:
        problems.append(f"{REFERENCES}/ holds no cell")
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(f"study: {'; '.join(problems[:5])}{more}. In {folder} {LAYOUT}")
    return Study(folder, method, cells, videos)


def _cell(place: Path, problems: list[str]) -> Cell:
    text, images, clips = place / PROMPT, _files(place, IMAGES), _files(place, CLIPS)
    prompt = read_text(text, "prompt").strip() if text.is_file() else ""
    if not prompt:
        problems.append(f"{REFERENCES}/{place.name}/{PROMPT} is missing or empty")
    if not images:
        problems.append(f"{REFERENCES}/{place.name}/ has no image ({' '.join(IMAGES)})")
    if len(clips) != 1:
        problems.append(f"{REFERENCES}/{place.name}/ has {len(clips)} clips ({' '.join(CLIPS)}), expected one")
    return Cell(prompt, tuple(images), clips[0] if clips else place)


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return files_in(folder, suffixes)
