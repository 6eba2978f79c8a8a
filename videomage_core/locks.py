"""Folders that one process has to itself, by filelock; the operating system forgets a lock when a process is killed.

The lock is on a file ``.lock`` in the folder, which stays there on Linux and macOS: were it removed, one process could
hold the old file and another a new one.  On a drive without locks, as some network drives are, filelock either falls
back to a marker file or says so; then nobody is kept out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
_POLL = 0.1  # seconds


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Inside, no other process can train in this folder.

    Raises:
        ValueError: another one does.
    """
    lock = FileLock(folder / LOCK)
    if not _acquired(lock, 0):
        raise ValueError(
            f"folder: another training is at work in {folder}; wait until it has ended, or choose another output"
        )
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def waiting_lock(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Inside, no other process has the same folder; those that come wait, and call ``waiting`` again and again."""
    lock = FileLock(folder / LOCK)
    while not _acquired(lock, _POLL):
        waiting()
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock, seconds: float) -> bool:
    """Whether the lock came within so many seconds; on a drive that has none it always does."""
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    except NotImplementedError:  # what filelock 3 raises there
        return True
    return True
