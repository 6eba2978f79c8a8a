"""How much memory a piece of work holds at its peak, beyond what was held before it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_POLL = 0.02  # seconds between two looks at the process's memory
_STATM = Path("/proc/self/statm")


@contextmanager
def peak_memory() -> Iterator[Callable[[], float | None]]:
    """Watch the block; what it yields gives the peak in MB once the block has ended.

    On a GPU what torch allocated at most; else the process's resident memory, looked at every 20 ms on
    Linux; None elsewhere, and where nothing was seen yet.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
        return
    if not _STATM.is_file():
        yield lambda: None
        return
    held = resident()
    peak, ended = [held], threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: round((peak[0] - held) / 2**20, 1)
    finally:
        peak[0] = max(peak[0], resident())
        ended.set()
        watcher.join()


def resident() -> int:
    """The process's resident memory in bytes (Linux)."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
