"""Code shared by the three training nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io

from ..videomage_core.callbacks import Callbacks
from ..videomage_core.config import SamplingConfig, TrainingConfig
from ..videomage_core.data.frames import image_to_frames
from ..videomage_core.data.lora_metadata import Kind
from ..videomage_core.data.loss_plot import loss_plot
from ..videomage_core.model.fingerprint import fingerprint
from ..videomage_core.model.memory import workloads_for
from ..videomage_core.model.unet3d import UNet3DBackbone
from ..videomage_core.model.wan import WanBackbone
from ..videomage_core.output_paths import require_output_folder
from ..videomage_core.stages.fusion import FusionResult
from ..videomage_core.stages.training_result import TrainingResult
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
from .comfy_memory import HostedBase, on_device, segmenter_workloads
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


@dataclass(frozen=True)
class NodeTraining:
    """One run of a training node.

    Attributes:
        base: the base.
        kind: of LoRA that is trained.
        file_name: of the LoRA file.
        node: the running node's id.
        config: settings.
        segmenter: the one that is wired, or None.
        subjects: how many LoRAs a fusion is of.
    """

    base: HostedBase
    kind: Kind
    file_name: str
    node: str | None
    config: TrainingConfig
    segmenter: Any = None
    subjects: int = 2

    @property
    def sampling(self) -> SamplingConfig:
        """Settings of the samples: the base's preset, at the training size."""
        config: Any = self.config
        return replace(self.base.preset.sampling, height=config.height, width=config.width)

    @contextlib.contextmanager
    def on_device(self) -> Iterator[UNet3DBackbone | WanBackbone]:
        """As ``comfy_memory.on_device``; an error that ends the training is shown on the page.

        Raises:
            ValueError: no LoRA file can have this name (a wired one is seen here first); no file can be written to
                where LoRAs or checkpoints go.
            RuntimeError: see ``on_device``.
        """
        workloads = [
            *workloads_for(self.config, self.subjects),
            *workloads_for(self.sampling),
            *segmenter_workloads(self.segmenter),
        ]
        with progress.telling_errors(self._reported):
            require_output_folder(host.loras_folder(), "models/loras")
            require_output_folder(host.training_folder(), "ComfyUI's output folder")
            with on_device(self.base, OOM_HINT, workloads) as backbone:
                yield backbone

    def train_or_load(self, key: str, train: Callable[[Path, Callbacks], StoredResult]) -> StoredResult:
        """Train, resume, or load the cached result of these inputs; then write the LoRA file.

        Args:
            key: the training's, as its stage builds it of all that the result depends on.
            train: (folder, callbacks) -> the result.
        """
        callbacks, name = progress.callbacks_for(self.node, self._reported), self.file_name + self.base.file_suffix
        base_fingerprint = fingerprint(self.base.backbone.network)
        training_folder, architecture = host.training_folder(), base_fingerprint.architecture
        folder = run_dir(training_folder, name, key, self.base.name, architecture)
        result = load_result(folder, self.config.steps)
        if result is None or not result.lora_model.fingerprint.matches(base_fingerprint):
            with progress.live_training(self._reported):
                result = train(folder, callbacks)
                save_result(folder, result)
        if "sample" in result.videos:
            progress.save_sample(self._reported, result.videos["sample"])
        saved = export_lora(result.lora_model, host.loras_folder(), name)
        file, steps = f"videomage/{saved.name}", self.config.steps
        progress.tell_training(self._reported, "finished", steps, steps, 0, result.history, file)
        return result

    def segmenter_with(self, callbacks: Callbacks) -> Any:
        """The segmenter with a run's callbacks; None without one."""
        segmenter = self.segmenter
        return segmenter.with_callbacks(callbacks) if hasattr(segmenter, "with_callbacks") else segmenter

    @property
    def _reported(self) -> progress.Training:
        return progress.Training(self.kind, self.file_name, self.node or "")


def stored_result(trained: TrainingResult | FusionResult, **videos: torch.Tensor) -> StoredResult:
    """A stage's result as it is stored, with its sample and further videos."""
    sample = {} if trained.sample is None else {"sample": trained.sample}
    return StoredResult(trained.lora_model, trained.history, {**sample, **videos})


def training_result(result: StoredResult, *more: Any) -> Any:
    """LoRA, loss plot, samples, and further outputs of a node."""
    return io.NodeOutput(result.lora_model, image_to_frames(loss_plot(result.history.losses)), *more)


def samples_of(result: StoredResult) -> Any:
    return image(result.videos["sample"])
