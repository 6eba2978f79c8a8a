"""What the three training nodes share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..videomage_core.config import TrainingConfig
from ..videomage_core.data.frames import frames_of_picture
from ..videomage_core.data.loss_plot import loss_plot
from ..videomage_core.finished import Finished, finished, folder_of, keep, publish, require_file_name
from ..videomage_core.model.fingerprint import fingerprint
from ..videomage_core.model.memory import Work
from ..videomage_core.model.unet3d import UNet3DBackbone
from ..videomage_core.run import Run
from . import comfy_host as host
from . import progress
from .comfy_memory import HostedBase, computing
from .pictures import image
from .schema import Lora

TO_LOWER = "frames, width and height, batch_size or rank"


def file_name_input(default: str) -> io.Input:
    return io.String.Input(
        "file_name",
        default=default,
        tooltip="The LoRA is saved as models/loras/videomage/<file_name>.safetensors; with a number behind "
        "it if another LoRA has that name. The same inputs give the finished file again, without training.",
    )


def check_file_name(name: str | None) -> None:
    """ValueError unless a LoRA file can have this name; None is one that is linked."""
    if name is not None:
        require_file_name(name)


def training_outputs() -> list[io.Output]:
    return [
        Lora.Output("lora", display_name="LoRA", tooltip="To sample with, to fuse, to describe."),
        io.Image.Output("loss_plot", display_name="loss plot", tooltip="Loss over the steps, logarithmic."),
        io.Image.Output("samples", display_name="samples", tooltip="Frames of a video made with the LoRA at the end."),
    ]


@contextlib.contextmanager
def computing_for(
    base: HostedBase, kind: str, file_name: str, node: str | None, works: Sequence[Work]
) -> Iterator[UNet3DBackbone]:
    """As ``computing``, for a training; if an error ends it, the page keeps what it says.

    Raises:
        ValueError: no LoRA file can have this name; a wired one is seen here first.
        RuntimeError: see ``computing``.
    """
    told = progress.telling_errors(progress.Training(kind, file_name, node or ""))
    with told, computing(base, TO_LOWER, works) as backbone:
        yield backbone


def trained(
    base: HostedBase,
    kind: str,
    file_name: str,
    config: TrainingConfig,
    parts: list[object],
    node: str | None,
    train: Callable[[Path, Run], Finished],
) -> Finished:
    """Train, go on training, or take what these inputs made before; then share the file.

    Args:
        base: the base, in use.
        kind: "subject", "motion" or "fusion".
        file_name: of the LoRA file.
        config: settings.
        parts: all inputs that the result depends on.
        node: the running node's id.
        train: (folder, run) -> what was made.
    """
    training = progress.Training(kind, file_name, node or "")
    run = progress.run_of(node, training)
    mark = fingerprint(base.backbone.network)
    folder = folder_of(host.training_folder(), file_name, config, kind, base.name, mark.architecture, *parts)
    made = finished(folder, config.steps)
    if made is None or not made.concept.fingerprint.matches(mark):
        with progress.live_training(training):
            made = train(folder, run)
            keep(folder, made)
    if "sample" in made.videos:
        progress.keep_sample(training, made.videos["sample"])
    saved = publish(made.concept, host.loras_folder(), file_name)
    file = f"videomage/{saved.name}"
    progress.tell_training(training, "finished", config.steps, config.steps, 0, made.history, file)
    return made


def training_result(made: Finished, *more: Any) -> Any:
    """LoRA, loss plot, samples, and what else a node gives; the page shows the curve on the node by itself."""
    return io.NodeOutput(made.concept, frames_of_picture(loss_plot(made.history.losses)), *more)


def reporting(segmenter: Any, run: Run) -> Any:
    """The segmenter, telling this run of its progress and stopping with it; None for none."""
    return segmenter.with_run(run) if hasattr(segmenter, "with_run") else segmenter


def samples_of(made: Finished) -> Any:
    return image(made.videos["sample"])


def looks(base: HostedBase, config: Any) -> Any:
    """How samples are made: as the base's preset says, at the training's size."""
    return replace(base.preset.sampling, height=config.height, width=config.width)
