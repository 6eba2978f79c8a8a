"""A job's progress and previews on its node, and a training's state, which is saved for page reloads."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..videomage_core.atomic_write import partial_file
from ..videomage_core.callbacks import Callbacks
from ..videomage_core.data.contact_sheet import strip
from ..videomage_core.data.frames import middle_image
from ..videomage_core.data.loss_plot import thinned
from ..videomage_core.text_files import read_json
from ..videomage_core.training.store import require_file_name, write_atomically
from . import comfy_host as host

_LINES = 6  # under a node, the last ones


@dataclass
class _Reported:
    """What the page is told of a job that runs."""

    preview: Any = None
    history: Any = None
    reported_at: float = 0.0
    began: float = 0.0
    first: int = 0
    last: int = 0
    what: str = ""


@dataclass(frozen=True)
class Training:
    """The state of a training that the page shows; saved on disk for page reloads.

    Attributes:
        kind: "subject", "motion" or "fusion".
        name: of its LoRA file.
        node: the id of the node that trains, as it runs: "5", or "2:5" in a subgraph.

    Raises:
        ValueError: not a valid name of a LoRA file, such as one that leads out of the folder.
    """

    kind: str
    name: str
    node: str

    def __post_init__(self) -> None:
        require_file_name(self.name)

    def file(self, ending: str) -> Path:
        """Its file with that suffix; the name includes the node, as two nodes may train under one name."""
        node = re.sub(r"[^\w-]", "_", self.node)[:64]
        return host.training_folder() / f"{self.name}.{self.kind}.{node}.{ending}"

    @property
    def state_file(self) -> Path:
        return self.file("json")

    @property
    def sample_file(self) -> Path:
        return self.file("jpg")


def callbacks_for(node: str | None, training: Training | None = None) -> Callbacks:
    """A ``Callbacks`` that reports to ComfyUI: progress, previews and lines on the node, cancel within one step.

    Args:
        node: the running node's id.
        training: whose state the page shows; None without one.
    """
    reported = _Reported()

    def progress(done: int, total: int, what: str) -> None:
        host.stop_if_asked()
        if what != reported.what or done <= reported.last:
            reported.what, reported.began, reported.first = what, time.monotonic(), done
        reported.last = done
        if node is not None:
            host.show_progress(node, done, total, reported.preview)
            reported.preview = None  # the page keeps what it was sent
        if training is not None and (time.monotonic() - reported.reported_at > 0.5 or done == total):
            reported.reported_at = time.monotonic()
            rate = (done - reported.first) / max(1e-9, reported.reported_at - reported.began)
            left = (total - done) / rate if done > reported.first else None
            tell_training(training, what, done, total, left, reported.history)

    def preview(video: torch.Tensor) -> None:
        reported.preview = middle_image(video)
        if training is not None and video.shape[1] > 1:
            save_sample(training, video)

    def watch(history: Any) -> None:
        reported.history = history

    def cancelled() -> bool:
        host.stop_if_asked()
        return False

    return Callbacks(progress=progress, preview=preview, watch=watch, cancelled=cancelled, log=_log_on(node))


def _log_on(node: str | None) -> Callable[[str], None]:
    """A log whose last lines are shown on the node."""
    lines: list[str] = []

    def log(line: str) -> None:
        logging.getLogger("videomage").info(line)
        lines.append(line)
        if node is not None:
            host.show_text(node, "\n".join(lines[-_LINES:]))

    return log


_live: set[Training] = set()  # the one that runs


@contextlib.contextmanager
def live_training(training: Training) -> Iterator[None]:
    """Context that reports this training's start and end to the page."""
    _live.add(training)
    training.sample_file.unlink(missing_ok=True)  # an earlier one's
    try:
        tell_training(training, "preparing", 0, 1, None, None)
        yield
    finally:
        _live.discard(training)
        state = training_state(training)
        if state is not None:
            host.send("videomage.training", state)


@contextlib.contextmanager
def telling_errors(training: Training) -> Iterator[None]:
    """Context that saves an error's first line with the training's state and reports it; a cancel is no error."""
    try:
        yield
    except Exception as error:
        if not host.was_cancelled(error):
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            _publish(
                training,
                {**(_load_state(training) or _state("preparing", 0, 1, None, None)), "error": said, "file": ""},
            )
        raise


def training_state(training: Training) -> dict[str, Any] | None:
    """The state of the latest such training, also from before a restart; None if there was none."""
    state = _load_state(training)
    return None if state is None else _to_show(training, state)


def tell_training(
    training: Training, what: str, done: int, total: int, left: float | None, history: Any, file: str = ""
) -> None:
    """Save a training's state and send it to the open pages; ``file`` is the LoRA file of a finished one."""
    _publish(training, {**_state(what, done, total, left, history), "file": file})


def _state(what: str, done: int, total: int, left: float | None, history: Any) -> dict[str, Any]:
    return {
        "what": what,
        "done": done,
        "total": total,
        "seconds_left": left,
        "losses": {} if history is None else {term: thinned(values) for term, values in history.losses.items()},
        "steps": 0 if history is None else len(history.seconds),
        "error": "",
    }


def _publish(training: Training, state: dict[str, Any]) -> None:
    state = {**state, "time": time.time()}
    with _showing():
        host.training_folder().mkdir(parents=True, exist_ok=True)
        write_atomically(training.state_file, json.dumps(state))
    host.send("videomage.training", _to_show(training, state))


def _load_state(training: Training) -> dict[str, Any] | None:
    if not training.state_file.is_file():
        return None
    return dict(read_json(training.state_file))


def _to_show(training: Training, state: dict[str, Any]) -> dict[str, Any]:
    """With which training it is, whether it runs, and when its sample was made (0: there is none)."""
    sample = 0
    with contextlib.suppress(OSError):
        sample = training.sample_file.stat().st_mtime_ns // 1_000_000
    return {**dataclasses.asdict(training), **state, "live": training in _live, "sample": sample}


def save_sample(training: Training, video: torch.Tensor) -> None:
    """The frames of a training's last sample, side by side, for the page."""
    image = strip(video, 1)
    image.thumbnail((2048, host.PREVIEW_SIDE))
    with _showing():
        host.training_folder().mkdir(parents=True, exist_ok=True)
        partial = partial_file(training.sample_file)
        image.save(partial, "JPEG", quality=90)
        partial.replace(training.sample_file)


@contextlib.contextmanager
def _showing() -> Iterator[None]:
    """Inside, files are written for the page; a full disk, or a file that Windows holds open, stops no training."""
    try:
        yield
    except OSError as error:
        logging.getLogger("videomage").warning("the page cannot be shown the training's state: %s", error)
