"""How much memory a piece of work holds at its peak, beyond what was held before it."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

_POLL = 0.02  # seconds between two looks at the process's memory
_STATM = Path("/proc/self/statm")


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], float | None]]:
    """Watch the block; what it yields gives the peak in MB once the block has ended.

    On a GPU what torch allocated at most; on a CPU the process's resident memory, looked at every 20 ms on
    Linux; None elsewhere.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield lambda: round((torch.cuda.max_memory_allocated(device) - before) / 2**20, 1)
        return
    if device.type != "cpu" or not _STATM.is_file():
        yield lambda: None
        return
    _give_back()
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


def _give_back() -> None:
    """glibc keeps what was freed for the next to come, which would then seem to need nothing."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def resident() -> int:
    """The process's resident memory in bytes (Linux)."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
