"""The one lister of folders: without hidden files, in the order a person would count, 2 before 10.

Hidden files (".name") and those that systems leave behind are never seen.  Endings count in any case, and links count
as what they lead to.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path

_SYSTEM = ("thumbs.db", "desktop.ini", "__macosx")


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts "2.png" before "10.png"."""
    parts = re.findall(r"\d+|\D+", path.stem.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in order, without what is hidden; a link that leads nowhere is left in."""
    there = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in _SYSTEM]
    return sorted(there, key=natural_order)


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files of a folder with one of these endings (in lower case)."""
    return [path for path in entries(folder) if path.suffix.lower() in suffixes and path.is_file()]


def folders_in(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.is_dir()]


def below(folder: Path, depth: int) -> Iterator[Path]:
    """What lies in a folder and in its folders, ``depth`` levels of them, linked ones too."""
    for path in entries(folder) if folder.is_dir() else []:
        yield path
        if depth > 1 and path.is_dir():
            with contextlib.suppress(OSError):
                yield from below(path, depth - 1)
