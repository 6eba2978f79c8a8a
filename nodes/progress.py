"""What the page is told of a job: progress and previews on its node, and the state of a training, kept for a reload."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..videomage_core.data.contact_sheet import strip
from ..videomage_core.data.frames import middle_picture
from ..videomage_core.data.loss_plot import thinned
from ..videomage_core.finished import write_atomically
from ..videomage_core.run import Run
from . import comfy_host as host


@dataclass
class _Shown:
    """What the page is told of a job that runs."""

    node: str
    preview: Any = None
    history: Any = None
    told: float = 0.0
    began: float = 0.0
    first: int = 0
    last: int = 0
    what: str = ""


def run_of(node: str | None, kind: str = "", name: str = "") -> Run:
    """A ``Run`` that reports to ComfyUI: progress and previews on the node, cancel within one step.

    Args:
        node: the running node's id.
        kind: of a training whose state the page shows: "subject", "motion" or "fusion"; "" of none.
        name: of its LoRA file.
    """
    shown = _Shown(node or "")

    def progress(done: int, total: int, what: str) -> None:
        host.stop_if_asked()
        if what != shown.what or done <= shown.last:
            shown.what, shown.began, shown.first = what, time.monotonic(), done
        shown.last = done
        if node is not None:
            host.show_progress(node, done, total, shown.preview)
            shown.preview = None  # the page keeps what it was sent
        if kind and (time.monotonic() - shown.told > 0.5 or done == total):
            shown.told = time.monotonic()
            rate = (done - shown.first) / max(1e-9, shown.told - shown.began)
            left = (total - done) / rate if done > shown.first else None
            tell_training(kind, name, shown.node, what, done, total, left, shown.history)

    def preview(video: torch.Tensor) -> None:
        shown.preview = middle_picture(video)
        if kind and video.shape[1] > 1:
            keep_sample(kind, name, video)

    def watch(history: Any) -> None:
        shown.history = history

    def cancelled() -> bool:
        host.stop_if_asked()
        return False

    return Run(progress=progress, preview=preview, watch=watch, cancelled=cancelled)


_live: set[tuple[str, str]] = set()  # (kind, name) of the training that runs


@contextlib.contextmanager
def live_training(kind: str, name: str) -> Iterator[None]:
    """Inside, the page is told that this training runs; whatever ends it, the page is told that too."""
    _live.add((kind, name))
    sample_file(kind, name).unlink(missing_ok=True)  # another training's of that name
    try:
        tell_training(kind, name, "", "preparing", 0, 1, None, None)
        yield
    finally:
        _live.discard((kind, name))
        state = training_state(kind, name)
        if state is not None:
            host.send("videomage.training", state)


def training_state(kind: str, name: str) -> dict[str, Any] | None:
    """The state of the latest training of that file name, also of one before a restart; None if there was none."""
    path = state_file(kind, name)
    if not path.is_file():
        return None
    return {**json.loads(path.read_text(encoding="utf-8")), "live": (kind, name) in _live}


def state_file(kind: str, name: str) -> Path:
    return host.training_folder() / f"{name}.{kind}.json"


def sample_file(kind: str, name: str) -> Path:
    return host.training_folder() / f"{name}.{kind}.jpg"


def tell_training(
    kind: str, name: str, node: str, what: str, done: int, total: int, left: float | None, history: Any
) -> None:
    """Keep a training's state on disk, where a reloaded page finds it, and send it to the pages that are open."""
    state = {
        "kind": kind,
        "name": name,
        "node": node,
        "what": what,
        "done": done,
        "total": total,
        "seconds_left": left,
        "losses": {} if history is None else {term: thinned(values) for term, values in history.losses.items()},
        "steps": 0 if history is None else len(history.seconds),
        "sample": sample_file(kind, name).is_file(),
    }
    with _showing():
        host.training_folder().mkdir(parents=True, exist_ok=True)
        write_atomically(state_file(kind, name), json.dumps(state))
    host.send("videomage.training", {**state, "live": (kind, name) in _live})


def keep_sample(kind: str, name: str, video: torch.Tensor) -> None:
    """The frames of a training's last sample, side by side, for the page."""
    picture = strip(video, 1)
    picture.thumbnail((2048, host.PREVIEW_SIDE))
    with _showing():
        host.training_folder().mkdir(parents=True, exist_ok=True)
        partial = sample_file(kind, name).with_suffix(".partial")
        picture.save(partial, "JPEG", quality=90)
        partial.replace(sample_file(kind, name))


@contextlib.contextmanager
def _showing() -> Iterator[None]:
    """Inside, files are written for the page; a full disk, or a file that Windows holds open, stops no training."""
    try:
        yield
    except OSError as error:
        logging.getLogger("videomage").warning("the page cannot be shown the training's state: %s", error)
