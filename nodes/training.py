"""Code shared by the three training nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..videomage_core.callbacks import Callbacks
from ..videomage_core.config import TrainingConfig
from ..videomage_core.data.frames import image_to_frames
from ..videomage_core.data.loss_plot import loss_plot
from ..videomage_core.model.fingerprint import fingerprint
from ..videomage_core.model.memory import Workload
from ..videomage_core.model.unet3d import UNet3DBackbone
from ..videomage_core.model.wan import WanBackbone
from ..videomage_core.output_paths import require_output_folder
from ..videomage_core.training.store import (
    StoredResult,
    export_lora,
    load_result,
    require_file_name,
    run_dir,
    save_result,
)
from . import comfy_host as host
from . import progress
from .comfy_memory import HostedBase, on_device
from .conversions import image
from .schema import Lora

OOM_HINT = "frames, width and height, batch_size or rank"


def file_name_input(default: str) -> io.Input:
    return io.String.Input(
        "file_name",
        default=default,
        tooltip=(
            "The LoRA is saved as models/loras/videomage/<file_name>.safetensors; a number is "
            "appended if another LoRA has that name. With the same inputs the saved LoRA is used "
            "again, without training."
        ),
    )


def check_file_name(name: str | None) -> None:
    """ValueError unless this is a valid name of a LoRA file; None is a linked input."""
    if name is not None:
        require_file_name(name)


def training_outputs() -> list[io.Output]:
    return [
        Lora.Output(
            "lora",
            display_name="LoRA",
            tooltip="The trained LoRA: sample with it, fuse it, or inspect it with LoRA Info.",
        ),
        io.Image.Output(
            "loss_plot", display_name="loss plot", tooltip="Loss over the training steps, on a logarithmic scale."
        ),
        io.Image.Output(
            "samples", display_name="samples", tooltip="Frames of a video sampled with the LoRA after training."
        ),
    ]


@contextlib.contextmanager
def on_device_for_training(
    base: HostedBase, kind: str, file_name: str, node: str | None, workloads: Sequence[Workload]
) -> Iterator[UNet3DBackbone | WanBackbone]:
    """As ``on_device``, for a training; an error that ends it is shown on the page.

    Raises:
        ValueError: no LoRA file can have this name (a wired one is seen here first); no file can be written to
            where LoRAs or checkpoints go.
        RuntimeError: see ``on_device``.
    """
    with progress.telling_errors(progress.Training(kind, file_name, node or "")):
        require_output_folder(host.loras_folder(), "models/loras")
        require_output_folder(host.training_folder(), "ComfyUI's output folder")
        with on_device(base, OOM_HINT, workloads) as backbone:
            yield backbone


def train_or_load(
    base: HostedBase,
    kind: str,
    file_name: str,
    config: TrainingConfig,
    key: str,
    node: str | None,
    train: Callable[[Path, Callbacks], StoredResult],
) -> StoredResult:
    """Train, resume, or load the cached result of these inputs; then write the LoRA file.

    Args:
        base: the base, in use.
        kind: "subject", "motion" or "fusion".
        file_name: of the LoRA file.
        config: settings.
        key: the training's, as its stage builds it of all that the result depends on.
        node: the running node's id.
        train: (folder, run) -> what was made.
    """
    training = progress.Training(kind, file_name, node or "")
    file_name += base.file_suffix
    callbacks = progress.callbacks_for(node, training)
    base_fingerprint = fingerprint(base.backbone.network)
    folder = run_dir(host.training_folder(), file_name, key, base.name, base_fingerprint.architecture)
    result = load_result(folder, config.steps)
    if result is None or not result.lora_model.fingerprint.matches(base_fingerprint):
        with progress.live_training(training):
            result = train(folder, callbacks)
            save_result(folder, result)
    if "sample" in result.videos:
        progress.save_sample(training, result.videos["sample"])
    saved = export_lora(result.lora_model, host.loras_folder(), file_name)
    file = f"videomage/{saved.name}"
    progress.tell_training(training, "finished", config.steps, config.steps, 0, result.history, file)
    return result


def training_result(result: StoredResult, *more: Any) -> Any:
    """LoRA, loss plot, samples, and further outputs of a node."""
    return io.NodeOutput(result.lora_model, image_to_frames(loss_plot(result.history.losses)), *more)


def with_callbacks(segmenter: Any, callbacks: Callbacks) -> Any:
    """The segmenter with this run's callbacks; None without one."""
    return segmenter.with_callbacks(callbacks) if hasattr(segmenter, "with_callbacks") else segmenter


def samples_of(result: StoredResult) -> Any:
    return image(result.videos["sample"])


def sampling_config(base: HostedBase, config: Any) -> Any:
    """Settings of the samples: the base's preset, at the training size."""
    return replace(base.preset.sampling, height=config.height, width=config.width)
