"""Makes a benchmark's videos: LoRAs are trained once and shared, videos kept by content and method.

Everything lies in one folder and is named after all that it depends on.  A stopped benchmark goes on where
it was, and a change of engine settings, base or pictures makes anew only what depends on it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ..config import TrainingConfig
from ..data.examples import load_motion_clip, load_subject_images
from ..data.lora_file import Concept
from ..data.media import to_uint8
from ..finished import Finished, finished, folder_of, keep
from ..history import History
from ..model.backbone import Backbone
from ..model.fingerprint import fingerprint
from ..presets import Preset
from ..run import Run
from ..stages.collaborative_sampling import sample_collaboratively
from ..stages.comparisons import sample_averaged, sample_base, sample_merged
from ..stages.fusion import fuse_subjects
from ..stages.motion_lora import train_motion
from ..stages.motion_start import invert_clip
from ..stages.subject_lora import train_subject
from ..training import digest
from .grid import Cell, Grid
from .memory import peak_memory
from .methods import Method


@dataclass(frozen=True)
class Made:
    """One video of the benchmark.

    Attributes:
        method: its name.
        cell: what was asked.
        video: uint8 [F, H, W, 3].
        seconds: of sampling alone.
        memory_mb: the most that sampling held beyond what was held before it; None if nobody says.
    """

    method: str
    cell: Cell
    video: np.ndarray
    seconds: float
    memory_mb: float | None


class Runner:
    """Makes videos of cells, and whatever they need first.

    Args:
        backbone: the base; left as it was found.
        preset: the settings that methods change.
        grid: what is asked.
        folder: keeps trainings and videos.
        run: progress and cancel.
    """

    def __init__(self, backbone: Backbone, preset: Preset, grid: Grid, folder: Path, run: Run) -> None:
        self.backbone, self.preset, self.grid, self.folder, self.run = backbone, preset, grid, folder, run
        self.mark = fingerprint(backbone.network)
        self._concepts: dict[Path, Concept] = {}
        self.training_seconds: dict[tuple[str, str], float] = {}  # (what, its folder) -> of all its steps

    def make(self, method: Method, cell: Cell) -> Made:
        """The video of a cell by a method, made now or kept from before."""
        preset = method.settings(self.preset)
        subjects = [self.subject(name, preset) for name in cell.subjects]
        motion = None if cell.motion is None or method.combine == "base" else self.motion(cell.motion, preset)
        combined: list[Concept] = []
        if method.combine in ("scs", "merged"):
            combined = [self.fusion(cell.subjects, preset)]
        elif method.combine == "averaged":
            combined = subjects
        prompt = self.grid.prompt(cell)
        config = preset.collaborative if method.combine == "scs" and motion is not None else preset.sampling
        parts = [part for concept in (*combined, *([motion] if motion else [])) for part in concept.parts()]
        mark = digest(method.combine, self.mark, config, prompt, cell.seed, self._clip_mark(cell, preset), *parts)
        path = self.folder / "videos" / method.name.replace(" ", "_") / f"{cell.name}-{mark}.safetensors"
        if path.is_file():
            return _read(path, method, cell)
        inverted = None if cell.motion is None else self.inverted(cell.motion, preset)

        def sample() -> torch.Tensor:
            if method.combine == "base":
                return sample_base(self.backbone, subjects, prompt, cell.seed, preset.sampling, inverted, self.run)
            if method.combine == "averaged":
                return sample_averaged(
                    self.backbone, subjects, motion, prompt, cell.seed, preset.sampling, inverted, self.run
                )
            if method.combine == "scs" and motion is not None:
                return sample_collaboratively(
                    self.backbone, combined[0], motion, prompt, cell.seed, preset.collaborative, inverted, run=self.run
                ).video
            both = [(combined[0], 1.0), *([(motion, 1.0)] if motion is not None else [])]
            return sample_merged(self.backbone, both, prompt, cell.seed, preset.sampling, inverted, self.run)

        with peak_memory() as peak:
            began = time.monotonic()
            video = to_uint8(sample())
            seconds = time.monotonic() - began
        made = Made(method.name, cell, video, round(seconds, 2), peak())
        _write(path, made)
        return made

    def subject(self, name: str, preset: Preset) -> Concept:
        """The subject's LoRA."""
        entry = self.grid.subjects[name]
        images = load_subject_images(entry.folder)
        seen = [part for image in images for part in (image.pixels, image.mask, image.prompt)]

        def train(folder: Path) -> tuple[Concept, History]:
            trained = train_subject(
                self.backbone, images, entry.token, entry.superclass, preset.subject, folder,
                captions=preset.captions, run=self.run, cache=self.folder / "made",
            )  # fmt: skip
            return trained.concept, trained.history

        return self._trained(f"subject {name}", preset.subject, train, entry.token, entry.superclass, *seen)

    def motion(self, name: str, preset: Preset) -> Concept:
        """The motion's LoRA."""
        entry, config = self.grid.motions[name], preset.motion
        clip = load_motion_clip(entry.clip, list(entry.performers), config.frames)

        def train(folder: Path) -> tuple[Concept, History]:
            trained = train_motion(self.backbone, [clip], entry.prompt, config, folder, run=self.run)
            return trained.concept, trained.history

        return self._trained(f"motion {name}", config, train, entry.prompt, clip.pixels, clip.masks, clip.subjects)

    def fusion(self, names: Sequence[str], preset: Preset) -> Concept:
        """The fused LoRA of some subjects."""
        subjects = [self.subject(name, preset) for name in names]
        if len(subjects) == 1:
            return subjects[0]

        def train(folder: Path) -> tuple[Concept, History]:
            fused = fuse_subjects(self.backbone, subjects, preset.fusion, folder, preset.prompts, run=self.run)
            return fused.concept, fused.history

        parts = [part for concept in subjects for part in concept.parts()]
        return self._trained(f"fusion {' '.join(names)}", preset.fusion, train, preset.prompts, *parts)

    def inverted(self, name: str, preset: Preset) -> torch.Tensor:
        """The motion clip's inverted noise, the same for every method."""
        clip = load_motion_clip(self.grid.motions[name].clip, [], preset.sampling.frames)
        return invert_clip(self.backbone, clip.pixels, preset.sampling, self.folder / "made", self.run)

    def _clip_mark(self, cell: Cell, preset: Preset) -> str:
        if cell.motion is None:
            return ""
        return digest(load_motion_clip(self.grid.motions[cell.motion].clip, [], preset.sampling.frames).pixels)

    def _trained(
        self,
        name: str,
        config: TrainingConfig,
        train: Callable[[Path], tuple[Concept, History]],
        *parts: object,
    ) -> Concept:
        folder = folder_of(self.folder / "trainings", name.replace(" ", "_"), config, self.mark, *parts)
        if folder in self._concepts:
            return self._concepts[folder]
        found = finished(folder, config.steps)
        if found is None:
            self.run.log(f"training: {name} ({folder.name})")
            concept, history = train(folder)
            found = Finished(concept, history, {})
            keep(folder, found)
        self._concepts[folder] = found.concept
        self.training_seconds[name, folder.name] = sum(found.history.seconds)
        return found.concept


def _write(path: Path, made: Made) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    about = {"seconds": made.seconds, "memory_mb": made.memory_mb}
    save_file({"video": torch.from_numpy(made.video).contiguous()}, partial, metadata={"about": json.dumps(about)})
    os.replace(partial, path)


def _read(path: Path, method: Method, cell: Cell) -> Made:
    with safe_open(path, framework="pt") as file:
        about = json.loads((file.metadata() or {})["about"])
        return Made(method.name, cell, file.get_tensor("video").numpy(), about["seconds"], about["memory_mb"])
