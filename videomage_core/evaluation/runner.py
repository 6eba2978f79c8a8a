"""Makes a benchmark's videos: LoRAs are trained once and shared, videos cached by content and method.

Everything lies in one folder and is named after all that it depends on.  A stopped benchmark
resumes, and a change of settings, base or images makes anew only what depends on it; so does a stage whose
``VERSION`` was raised.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..cache_key import cache_key
from ..callbacks import Callbacks
from ..config import TrainingConfig
from ..data.augmentation import needed_size
from ..data.examples import load_motion_clip, load_subject_images
from ..data.lora_file import LoraModel
from ..data.masks import Segmenter
from ..data.media import to_uint8
from ..history import History
from ..model.backbone import Backbone
from ..model.encoded_text import values_of
from ..model.fingerprint import fingerprint
from ..presets import Preset
from ..stages.baselines import sample_averaged, sample_base, sample_composed, sample_merged
from ..stages.collaborative_sampling import sample_collaboratively
from ..stages.ddim_inversion import invert_clip
from ..stages.fusion import fuse_subjects, fusion_key
from ..stages.motion_lora import motion_key, train_motion
from ..stages.subject_lora import subject_key, train_subject
from ..stages.versions import STAGE_VERSIONS
from ..text_files import read_text
from ..training.loop import TrainingDiverged
from ..training.store import StoredResult, load_result, run_dir, save_result
from .grid import Cell, Grid
from .memory import peak_memory
from .methods import Method
from .video_cache import GeneratedVideo, read_video, write_video

_SAMPLERS = ("collaborative_sampling", "baselines", "ddim_inversion")  # whose versions a video depends on


@dataclass(frozen=True)
class CellLoras:
    """The LoRAs that a video needs: each subject's own; these fused, where the method fuses; the motion's."""

    subjects: list[LoraModel]
    fused: LoraModel | None
    motion: LoraModel | None


class Runner:
    """Makes videos of cells, and whatever they need first.

    Args:
        backbone: the base; left as it was found.
        preset: the settings that methods change.
        grid: what is asked.
        folder: keeps trainings and videos.
        callbacks: progress and cancel.
        segmenter: finds performers without masks and the subjects in their LoRAs' videos; None: plain backgrounds.
    """

    def __init__(
        self,
        backbone: Backbone,
        preset: Preset,
        grid: Grid,
        folder: Path,
        callbacks: Callbacks,
        segmenter: Segmenter | None = None,
    ) -> None:
        self.backbone, self.preset, self.grid, self.folder, self.callbacks = backbone, preset, grid, folder, callbacks
        self.segmenter = segmenter
        self.base_key = (fingerprint(backbone.network), _encoders_version(backbone))
        self._trained_loras: dict[tuple[Path, int], LoraModel] = {}  # by folder and steps
        self._failed: dict[tuple[Path, int], Exception] = {}
        self.training_seconds: dict[tuple[str, str], float] = {}  # (what, its folder) -> with all that it makes first

    def make(self, method: Method, cell: Cell) -> GeneratedVideo:
        """The video of a cell by a method, made now or read from the cache.

        Raises:
            ValueError, TrainingDiverged: a LoRA that it needs cannot be trained; said at once when asked again.
        """
        preset = method.settings(self.preset)
        loras = self._loras(method, cell, preset)
        path = self.folder / "videos" / f"{cell.name}-{self._video_key(method, cell, preset, loras)}.safetensors"
        cached = read_video(path, method.name, cell)  # methods that make the same share it
        if cached is not None:
            return cached
        inverted = None if cell.motion is None else self.inverted(cell.motion, preset)
        with peak_memory(self.backbone.device) as peak:
            began = time.monotonic()
            video = to_uint8(self._sample(method, cell, preset, loras, inverted))
            seconds = time.monotonic() - began
        generated = GeneratedVideo(method.name, cell, video, round(seconds, 2), peak())
        write_video(path, generated)
        return generated

    def _loras(self, method: Method, cell: Cell, preset: Preset) -> CellLoras:
        """A cell's LoRAs, trained now or before."""
        subjects = [self.subject(name, preset) for name in cell.subjects]
        motion = None if cell.motion is None or method.combine == "base" else self.motion(cell.motion, preset)
        fused = self.fusion(cell.subjects, preset) if method.combine in ("scs", "merged") else None
        return CellLoras(subjects, fused, motion)

    def _video_key(self, method: Method, cell: Cell, preset: Preset, loras: CellLoras) -> str:
        """Names a video after all that it depends on."""
        collaborative = method.combine == "scs" and loras.motion is not None
        config = preset.collaborative if collaborative else preset.sampling
        used = [loras.fused] if loras.fused else loras.subjects if method.combine in ("averaged", "composed") else []
        parts = [part for lora in (*used, *([loras.motion] if loras.motion else [])) for part in lora.key_parts()]
        prompts = self.grid.prompt(cell), self.grid.plain_prompt(cell)
        versions = {name: STAGE_VERSIONS[name] for name in _SAMPLERS}
        return cache_key(
            method.combine, self.base_key, versions, config, *prompts, cell.seed, self._clip_key(cell, preset), *parts
        )  # fmt: skip

    def _sample(
        self, method: Method, cell: Cell, preset: Preset, loras: CellLoras, inverted: torch.Tensor | None
    ) -> torch.Tensor:
        """The video [3, F, H, W]."""
        base, prompt, seed, config, callbacks = (
            self.backbone, self.grid.prompt(cell), cell.seed, preset.sampling, self.callbacks
        )  # fmt: skip
        if loras.fused is None:
            if method.combine == "base":
                return sample_base(base, loras.subjects, prompt, seed, config, inverted, callbacks)
            sample = sample_composed if method.combine == "composed" else sample_averaged
            return sample(base, loras.subjects, loras.motion, prompt, seed, config, inverted, callbacks)
        if method.combine == "scs" and loras.motion is not None:
            return sample_collaboratively(
                base, loras.fused, loras.motion, prompt, seed, preset.collaborative, inverted, callbacks=callbacks
            ).video
        both = [(loras.fused, 1.0), *([(loras.motion, 1.0)] if loras.motion is not None else [])]
        return sample_merged(base, both, prompt, seed, config, inverted, callbacks)

    def subject(self, name: str, preset: Preset) -> LoraModel:
        """The subject's LoRA."""
        entry = self.grid.subjects[name]
        captions, config = preset.captions, preset.subject
        images = load_subject_images(entry.folder, min_size=needed_size(config))

        def train(folder: Path) -> tuple[LoraModel, History]:
            trained = train_subject(
                self.backbone, images, entry.token, entry.superclass, config, folder,
                captions=captions, callbacks=self.callbacks, cache=self.folder,
            )  # fmt: skip
            return trained.lora_model, trained.history

        key = subject_key(images, entry.token, entry.superclass, config, captions=captions)
        return self._trained(f"subject {name}", config, self.preset.subject, train, key)

    def motion(self, name: str, preset: Preset) -> LoraModel:
        """The motion's LoRA."""
        entry, config = self.grid.motions[name], preset.motion
        clip = dataclasses.replace(
            load_motion_clip(
                entry.clip,
                list(entry.performers),
                config.frames,
                min_size=needed_size(config, self.segmenter is not None),
            ),
            segmenter=self.segmenter,
        )

        def train(folder: Path) -> tuple[LoraModel, History]:
            trained = train_motion(self.backbone, [clip], entry.prompt, config, folder, callbacks=self.callbacks)
            return trained.lora_model, trained.history

        key = motion_key([clip], entry.prompt, config)
        return self._trained(f"motion {name}", config, self.preset.motion, train, key)

    def fusion(self, names: Sequence[str], preset: Preset) -> LoraModel:
        """The fused LoRA of some subjects."""
        subjects = [self.subject(name, preset) for name in names]
        if len(subjects) == 1:
            return subjects[0]

        def train(folder: Path) -> tuple[LoraModel, History]:
            fused = fuse_subjects(
                self.backbone, subjects, preset.fusion, folder, preset.prompts, self.segmenter, callbacks=self.callbacks
            )
            return fused.lora_model, fused.history

        key = fusion_key(subjects, preset.fusion, preset.prompts, self.segmenter)
        return self._trained(f"fusion {' '.join(names)}", preset.fusion, self.preset.fusion, train, key)

    def inverted(self, name: str, preset: Preset) -> torch.Tensor:
        """The motion clip's inverted noise, the same for every method."""
        return invert_clip(
            self.backbone, self._clip(name, preset), preset.sampling, self.folder / "generated", self.callbacks
        )

    def _clip_key(self, cell: Cell, preset: Preset) -> str:
        if cell.motion is None:
            return ""
        return cache_key(self._clip(cell.motion, preset))

    def _clip(self, motion: str, preset: Preset) -> torch.Tensor:
        """A motion's clip as it joins the initial noise, [3, F, H, W] in -1..1."""
        config, path = preset.sampling, self.grid.motions[motion].clip
        return load_motion_clip(path, [], config.frames, min_size=needed_size(config)).pixels

    def _trained(
        self,
        name: str,
        config: TrainingConfig,
        usual: TrainingConfig,
        train: Callable[[Path], tuple[LoraModel, History]],
        key: str,
    ) -> LoraModel:
        """A LoRA, trained now or read from the cache; ``usual`` are the preset's own settings of its kind."""
        folder = run_dir(self.folder / "trainings", name.replace(" ", "_"), key, *self.base_key)
        training = (folder, config.steps)  # under a constant schedule trainings of other lengths share a folder
        if training in self._failed:
            raise self._failed[training]
        if training in self._trained_loras:
            return self._trained_loras[training]
        stored = load_result(folder, config.steps)
        if stored is None:
            self.callbacks.log(f"training: {name} ({folder.name})")
            began = time.monotonic()
            try:
                lora, history = train(folder)
            except (ValueError, TrainingDiverged) as error:
                self._failed[training] = error
                raise
            finally:
                _add_seconds(folder, time.monotonic() - began)
            stored = StoredResult(lora, history, {})
            save_result(folder, stored)
        self._trained_loras[training] = stored.lora_model
        self.training_seconds[_kind(name, config, usual), folder.name] = _seconds_of(folder)
        return stored.lora_model


def _kind(name: str, config: TrainingConfig, usual: TrainingConfig) -> str:
    """subject, motion or fusion, with the settings that are not the preset's."""
    own, preset = dataclasses.asdict(config), dataclasses.asdict(usual)
    other = [f"{key} {value}" for key, value in own.items() if value != preset[key]]
    return name.split()[0] + (f" ({', '.join(other)})" if other else "")


_SECONDS = "seconds.txt"  # of all goes at a training, with the clips and tokens that it makes first


def _add_seconds(folder: Path, seconds: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _SECONDS).write_text(f"{_seconds_of(folder) + seconds:.1f}\n", encoding="utf-8")


def _seconds_of(folder: Path) -> float:
    path = folder / _SECONDS
    return float(read_text(path)) if path.is_file() else 0.0


def _encoders_version(backbone: Backbone) -> str:
    """What text encoder and autoencoder make of one input, to four digits: the network has a fingerprint of its own."""
    shape = backbone.latent_shape(1, 64, 64)
    noise = torch.randn((1, *shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        text, pixels = backbone.encode_prompt(["a dog"]), backbone.decode_video(noise.to(backbone.device))
    return f"{float(values_of(text).abs().mean()):.4g} {float(pixels.abs().mean()):.4g}"
