"""The callables through which a host sees a long job's progress and stops it.

Every stage takes a ``Callbacks``.  The command line, a test or a ComfyUI node fill in what they need;
the default does nothing and never stops.
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
    """The host asked a job to stop; everything it had taken is given back, what it saved is kept."""


def _nothing(*_: object) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Callbacks:
    """How a job speaks to its host.

    Attributes:
        progress: called after each step with (steps done, steps in all, what is being done).
        preview: called now and then with a video [3, F, H, W] in -1..1: a training's samples, and the
            middle frame of what is being sampled.
        watch: called as a training begins with its history, which grows with every step.
        cancelled: asked before each step; True stops the job with ``Cancelled``.
        log: takes one line for the user.
    """

    progress: Callable[[int, int, str], None] = _nothing
    preview: Callable[[torch.Tensor], None] = _nothing
    watch: Callable[[History], None] = _nothing
    cancelled: Callable[[], bool] = _never
    log: Callable[[str], None] = _log.info

    @property
    def previews(self) -> bool:
        """Whether anybody looks at previews."""
        return self.preview is not _nothing

    def without_preview(self) -> Callbacks:
        """The same without previews, for a sampling whose result will be one."""
        return replace(self, preview=_nothing)

    def check(self) -> None:
        """Raise ``Cancelled`` if the host wants to stop."""
        if self.cancelled():
            raise Cancelled("stopped by the user")
