"""Masks from words, Grounded-SAM 2 (Ren et al. 2024): GroundingDINO finds the words, SAM 2 follows what it found.

The paper cuts subjects out of one frame (Sec. 7.1, "Grounded-SAM") and out of whole single-subject
videos (Sec. 3.3, "Grounded-SAM2"); it gives no settings.  Ours: a word is looked for in the first frame, in every
``detection_interval``-th one after it and in the last; a box found where the word has no mask yet, because the subject
came later or was lost behind something, is followed from there to both ends of the clip.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ..callbacks import Callbacks
from ..config import SegmentationConfig
from ..folders import entries
from ..segmentation.boxes import resize_image
from ..segmentation.detector import check_detector, load_detector
from ..segmentation.tracker import check_tracker, load_tracker
from ..segmentation.words import Detection, boxes_of_words, caption_of, spans
from .masks import EMPTY, require_useful

_LONGER = 5 / 3  # the detector's image may be longer than its shorter side by this, as in its makers' code
_SAMPLE, _SAMPLES = 1 << 16, 64  # bytes, and how many samples of a large file: 4 MiB of it
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class GroundedSam2:
    """Segments what words name; a ``Segmenter``.  Models are loaded one at a time when used, and freed afterwards.

    Attributes:
        detector: GroundingDINO, a file of weights or a Hugging Face folder.
        tracker: SAM 2, likewise.
        bert: folder of bert-base-uncased, if the detector is a file.
        config: thresholds and sizes.
        device: where both run, e.g. "cuda".
        callbacks: progress and cancel.
    """

    detector: Path
    tracker: Path
    bert: Path | None = None
    config: SegmentationConfig = field(default_factory=SegmentationConfig)
    device: str = "cpu"
    callbacks: Callbacks = field(default_factory=Callbacks)

    def __post_init__(self) -> None:
        """Raise what ``check_detector`` and ``check_tracker`` raise: before anything is trained."""
        check_detector(self.detector, self.bert)
        check_tracker(self.tracker)

    def with_settings(self, config: SegmentationConfig) -> GroundedSam2:
        """The same models with other settings."""
        return replace(self, config=config)

    def with_callbacks(self, callbacks: Callbacks) -> GroundedSam2:
        """The same, which tells another host of its progress."""
        return replace(self, callbacks=callbacks)

    def key_parts(self) -> tuple[object, ...]:
        """What its masks depend on, to tell one training from another: names, contents and settings."""
        files = [self.detector, self.tracker, *([self.bert] if self.bert else [])]
        return (*(part for path in files for part in (path.name, _fingerprint(path))), repr(self.config))

    def segment(self, pixels: torch.Tensor, words: Sequence[str]) -> torch.Tensor:
        """See ``Segmenter``: pixels [3, F, H, W] -> masks [N, F, H, W], 0 or 1.

        Raises:
            ValueError: a word is found nowhere (says the best score), its mask is empty or covers all, or a SAM 2 for
                images is given a clip.
            FileNotFoundError, ImportError: weights or a package are missing.
            Cancelled: stopped by the host.
        """
        caption_of(words)
        check_tracker(self.tracker, pixels.shape[1])
        device = torch.device(self.device)
        frames = examined(pixels.shape[1], self.config.detection_interval)
        try:
            with torch.inference_mode(False), torch.no_grad(), _half(device, self.config.dtype):
                found = self._find(pixels, words, frames, device)
                self._require_found(words, found)
                _free()
                masks = self._follow(pixels, words, found, device)
        finally:
            _free()
        for word, mask in zip(words, masks, strict=True):
            require_useful(mask, word)
        return masks

    def _find(
        self, pixels: torch.Tensor, words: Sequence[str], frames: Sequence[int], device: torch.device
    ) -> dict[int, _Seen]:
        """What the detector sees in each of ``frames``.  It is this call's alone, so that it ends with it."""
        c, detector = self.config, load_detector(self.detector, self.bert, device)
        places = spans(words, detector.tokens)
        found = {}
        for done, f in enumerate(frames):
            self.callbacks.check()
            image, fitted = resize_image(
                pixels[:, f], c.detector_image_size, round(c.detector_image_size * _LONGER), detector.queries
            )
            scores, boxes = detector.find(image.to(device), caption_of(words))
            found[f] = _Seen(places, scores, fitted.to_frame(boxes))
            self.callbacks.progress(done + 1, len(frames), "finding words")
        return found

    def _of_words(
        self, words: Sequence[str], seen: _Seen, held: Mapping[int, torch.Tensor] | None = None
    ) -> list[Detection]:
        c = self.config
        return boxes_of_words(
            words, seen.places, seen.scores, seen.boxes, c.box_threshold, c.text_threshold, c.boxes == "all", held
        )

    def _require_found(self, words: Sequence[str], seen: Mapping[int, _Seen]) -> None:
        found = [self._of_words(words, of_frame) for of_frame in seen.values()]
        for n, word in enumerate(words):
            if not any(len(of_frame[n].boxes) for of_frame in found):
                best = max(of_frame[n].best for of_frame in found)
                raise ValueError(
                    f"words: {word!r} was not found in {_number(len(found), 'frame')} looked at (its best score is "
                    f"{best:.2f}, box_threshold {self.config.box_threshold:g}, text_threshold "
                    f"{self.config.text_threshold:g}); lower the thresholds, choose another word, or give a mask"
                )

    def _follow(
        self, pixels: torch.Tensor, words: Sequence[str], seen: Mapping[int, _Seen], device: torch.device
    ) -> torch.Tensor:
        """Masks [N, F, H, W].  SAM 2 is this call's alone."""
        tracker = load_tracker(self.tracker, device)
        masks = torch.zeros(len(words), *pixels.shape[1:])
        for start, of_frame in seen.items():
            held = {n: _box_of(masks[n, start]) for n in range(len(words)) if _shown(masks[n, start])}
            found = self._of_words(words, of_frame, held)
            new = [n for n in range(len(words)) if len(found[n].boxes)]
            if not new:
                continue
            steps = itertools.count(1)

            def step(steps: Iterator[int] = steps) -> None:
                self.callbacks.check()
                self.callbacks.progress(min(next(steps), pixels.shape[1]), pixels.shape[1], "following subjects")

            boxes = torch.cat([found[n].boxes for n in new])
            followed = tracker.follow(pixels, start, boxes, step)  # [M,F,H,W]
            for n, own in zip(new, followed.split([len(found[n].boxes) for n in new]), strict=True):
                free = torch.tensor([n in held or not _shown(mask) for mask in masks[n]])
                masks[n][free] = torch.maximum(masks[n][free], own.any(0)[free].float())
        return masks


@dataclass(frozen=True)
class _Seen:
    """What the detector says of one frame: where the words' tokens stand, their scores [Q, T], boxes [Q, 4] in it."""

    places: list[tuple[int, int]]
    scores: torch.Tensor
    boxes: torch.Tensor


def _box_of(mask: torch.Tensor) -> torch.Tensor:
    """The box [4] around what a mask [H, W] shows: left, top, right, bottom in pixels."""
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()


def examined(frames: int, every: int) -> list[int]:
    """Which frames of a clip the detector looks at."""
    return sorted({*range(0, frames, every), frames - 1}) if every else [0]


def _shown(mask: torch.Tensor) -> bool:
    """Whether a frame's mask [H, W] shows anything."""
    return float(mask.mean()) >= EMPTY


def _number(count: int, thing: str) -> str:
    return f"the {thing}" if count == 1 else f"any of {count} {thing}s"


def _fingerprint(path: Path) -> str:
    """Of a file's or a folder's content: sizes, and samples from head to tail, as gigabytes are too much to read."""
    sha256 = hashlib.sha256()
    for file in [path] if path.is_file() else [p for p in entries(path) if p.is_file()]:
        size = file.stat().st_size
        sha256.update(f"{'' if file == path else file.name} {size} ".encode())
        with file.open("rb") as content:
            for at in (*range(0, size, max(_SAMPLE, size // _SAMPLES)), max(0, size - _SAMPLE)):
                content.seek(at)
                sha256.update(content.read(_SAMPLE))
    return sha256.hexdigest()[:16]


def _free() -> None:
    """Give back what a model that nobody holds any more had taken."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _half(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """Half precision where it is asked for; auto: on a GPU that has it."""
    if precision == "auto":
        if device.type != "cuda":
            return contextlib.nullcontext()
        precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, _DTYPES[precision])
