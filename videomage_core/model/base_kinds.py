"""Checks of a base's folder, whichever kind of base it says that it holds; nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .base_folder import check_base_folder, check_size
from .base_names import is_wan_folder
from .wan_folder import check_wan_folder, check_wan_size


def check_any_base(folder: Path) -> None:
    """Raise if ``folder`` is no whole base that ``load_base`` takes."""
    (check_wan_folder if is_wan_folder(folder) else check_base_folder)(folder)


def is_base_folder(folder: Path) -> bool:
    """Whether ``folder`` holds a base that ``load_base`` takes."""
    try:
        check_any_base(folder)
    except (OSError, ValueError):
        return False
    return True


def check_video_size(folder: Path, lengths: Sequence[int], height: int, width: int) -> None:
    """Raise if a folder holds no base, or one that cannot make videos of a size.

    Args:
        folder: of the base.
        lengths: of the videos, in frames.
        height: in pixels.
        width: in pixels.
    """
    if not is_wan_folder(folder):
        return check_size(folder, height, width)
    check_wan_folder(folder)
    for frames in lengths:
        check_wan_size(folder, frames, height, width)
