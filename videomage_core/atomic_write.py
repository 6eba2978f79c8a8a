"""Atomic writes: a file is written beside its destination and renamed, so it is never seen half-written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import time
import uuid
from pathlib import Path

_ABANDONED = 3600  # seconds without a write after which nobody writes a file any more, whoever began it
_NAME = re.compile(r"\.videomage-([0-9a-f]{8})-(\d+)-[0-9a-f]{32}\.partial")


def partial_file(path: Path) -> Path:
    """Where to write what is to become ``path``: beside it, on the same disk, under a name that nobody else has.

    No file of a user's can have such a name, nor can a link wait there that leads the writing elsewhere.  What killed
    processes left of theirs is removed.
    """
    for left in path.parent.glob(".videomage-*.partial"):
        if _is_abandoned(left):
            with contextlib.suppress(OSError):
                left.unlink()
    return path.with_name(f".videomage-{_machine()}-{os.getpid()}-{uuid.uuid4().hex}.partial")


def _is_abandoned(path: Path) -> bool:
    parts = _NAME.fullmatch(path.name)
    if parts is None:
        return False
    with contextlib.suppress(OSError):
        if time.time() - path.lstat().st_mtime > _ABANDONED:
            return True
    if parts[1] != _machine() or os.name == "nt":  # on Windows os.kill ends what it asks about
        return False
    try:
        os.kill(int(parts[2]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass  # it is somebody else's, and alive
    return False


def _machine() -> str:
    """A shared folder is written by several machines, whose processes have the same numbers."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
