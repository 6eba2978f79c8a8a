"""Files that are written beside their place and renamed into it, so that nobody ever sees half of one."""

from __future__ import annotations

from pathlib import Path


def partial_file(path: Path) -> Path:
    """Where to write what is to become ``path``: beside it, on the same disk.

    What stands there is removed: what a killed process left, or a link that would lead the writing elsewhere.
    """
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    return partial
