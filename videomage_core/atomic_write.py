"""Atomic writes: a file is written beside its destination and renamed, so it is never seen half-written."""

from __future__ import annotations

from pathlib import Path


def partial_file(path: Path) -> Path:
    """The temporary file to write before renaming it to ``path``, on the same disk.

    An existing one is removed: a leftover of a killed process, or a link that would redirect the write.
    """
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    return partial
