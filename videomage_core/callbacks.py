"""Callbacks through which a host follows a long job and cancels it.

Every stage takes ``Callbacks``.  The command line, a test or a ComfyUI node sets what it needs; the defaults do nothing
and never cancel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .history import History

if TYPE_CHECKING:  # the command line says what is missing before it needs torch
    import torch

_log = logging.getLogger("videomage")


class Cancelled(Exception):
    """The host cancelled the job; its resources are released, and saved files are kept."""


def _nothing(*_: object) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Callbacks:
    """What a job reports to its host.

    Attributes:
        progress: called after each step with (steps done, total steps, name of the activity).
        preview: called from time to time with a video [3, F, H, W] in -1..1: a training's samples, or the middle
            frame of the video being sampled.
        watch: called when a training starts, with its history, which grows with every step.
        cancelled: called before each step; True stops the job with ``Cancelled``.
        log: called with one line for the user.
    """

    progress: Callable[[int, int, str], None] = _nothing
    preview: Callable[[torch.Tensor], None] = _nothing
    watch: Callable[[History], None] = _nothing
    cancelled: Callable[[], bool] = _never
    log: Callable[[str], None] = _log.info

    @property
    def previews(self) -> bool:
        """Whether previews are used."""
        return self.preview is not _nothing

    def without_preview(self) -> Callbacks:
        """The same callbacks without previews, for a sampling whose result is itself a preview."""
        return replace(self, preview=_nothing)

    def check(self) -> None:
        """Raise ``Cancelled`` if the host cancelled the job."""
        if self.cancelled():
            raise Cancelled("stopped by the user")
