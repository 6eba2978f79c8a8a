"""Folders that one process has to itself; the operating system forgets it when a process is killed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_LOCK = "in_use"
_POLL = 0.1  # seconds


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Inside, no other process can train in this folder.

    Raises:
        ValueError: another one does.
    """
    with _held(folder) as held:
        if not held:
            raise ValueError(
                f"folder: another training is at work in {folder}; wait until it has ended, or choose another output"
            )
        yield


@contextlib.contextmanager
def waiting_lock(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Inside, no other process has the same folder; those that come wait, and call ``waiting`` again and again."""
    while True:
        with _held(folder) as held:
            if held:
                yield
                return
        waiting()
        time.sleep(_POLL)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Whether this process has the folder; where there are no locks, as on some network drives, it always has."""
    try:
        import fcntl
    except ImportError:
        with _held_on_windows(folder) as held:
            yield held
        return
    descriptor, held = os.open(folder, os.O_RDONLY), True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = not isinstance(error, BlockingIOError)
        yield held
    finally:
        os.close(descriptor)  # and the lock with it


@contextlib.contextmanager
def _held_on_windows(folder: Path) -> Iterator[bool]:
    """There a folder cannot be locked, but a file in it that nobody else can open while it is open here."""
    path = folder / _LOCK
    try:
        path.unlink(missing_ok=True)  # refused while another process has it open
    except PermissionError:
        yield False
        return
    try:
        with open(path, "wb"):
            yield True
    finally:
        path.unlink(missing_ok=True)
