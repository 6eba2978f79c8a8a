"""What is learned from: images of a subject, captioned clips, clips of a motion; and reading them from disk.

Beside an image or clip may lie a text of the same name: ``red_cup.jpg`` and ``red_cup.txt`` or ``.caption``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..callbacks import Callbacks
from ..folders import files_in
from ..text_files import read_text
from .frames import frames_to_pixels, quantize, shrunk_pixels
from .images import Size, list_images, read_image
from .masks import FULL, Segmenter, segmenter_key_parts
from .media import count_frames, load_clip, load_masks
from .media_files import CLIP_SUFFIXES, Captions, passed_over
from .video_decoding import Frames


@dataclass(frozen=True)
class SubjectImage:
    """An image of the subject.

    Attributes:
        pixels: [3, H, W] in -1..1, of any size.
        mask: [H, W] in 0..1, 1 on the subject; restricts the loss to it.  None: the loss covers the whole image.
        prompt: its own prompt, with the token; None: the training's.
    """

    pixels: torch.Tensor
    mask: torch.Tensor | None = None
    prompt: str | None = None

    def key_parts(self) -> list[object]:
        """All that a result depends on, for ``cache_key``."""
        return [quantize(self.pixels, -1), None if self.mask is None else quantize(self.mask, 0), self.prompt]


@dataclass(frozen=True)
class CaptionedClip:
    """A clip for L_reg.

    Attributes:
        pixels: [3, F, H, W] in -1..1, of the training size.
        caption: its prompt, in plain words.
    """

    pixels: torch.Tensor
    caption: str

    def key_parts(self) -> list[object]:
        """All that a result depends on, for ``cache_key``."""
        return [quantize(self.pixels, -1), self.caption]


@dataclass(frozen=True)
class MotionClip:
    """A clip of the motion.

    Attributes:
        pixels: [3, F, H, W] in -1..1, with the config's number of frames, of any size.
        subjects: the N subjects in plain words, e.g. ("person", "horse").
        masks: of the subjects, [N, F, H, W] in 0..1, of any size; None: from the segmenter.
        segmenter: segments the subjects; None: one subject on a plain background.
        prompt: c_m for this clip; None: the training's.
    """

    pixels: torch.Tensor
    subjects: tuple[str, ...] = ()
    masks: torch.Tensor | None = None
    segmenter: Segmenter | None = None
    prompt: str | None = None

    def key_parts(self) -> list[object]:
        """All that a result depends on, for ``cache_key``."""
        masks = None if self.masks is None else quantize(self.masks, 0)
        return [quantize(self.pixels, -1), self.subjects, masks, *segmenter_key_parts(self.segmenter), self.prompt]


def load_subject_images(
    source: Path | Sequence[Path], masks: Path | None = None, min_size: Size | None = None
) -> list[SubjectImage]:
    """Images with their masks and prompts.

    Args:
        source: a folder of images, or image files.
        masks: a folder with a mask for each image, of the same name, white on the subject;
            without one, an image's alpha channel is its mask, where it has one that is not opaque.
        min_size: larger images are shrunk while they are read, as in ``read_image``; ``augmentation.needed_size``.

    Raises:
        FileNotFoundError: no such folder or file, or a mask is missing.
        ValueError: an image that cannot be read, named; a folder without images.
    """
    paths = list_images(source) if isinstance(source, Path) else list(source)
    found = {} if masks is None else _by_stem(list_images(masks, "masks"))
    missing = sorted(path.name for path in paths if masks is not None and path.stem not in found)
    if missing:
        raise FileNotFoundError(f"masks: {masks} holds none for {', '.join(missing)}; name a mask as its image")
    images, captions = [], {folder: Captions(folder) for folder in {path.parent for path in paths} if folder.is_dir()}
    for path in paths:
        loaded = read_image(path, min_size=min_size)
        mask = loaded.alpha
        if mask is not None and float(mask.mean()) > FULL:
            mask = None  # many programs save an alpha channel that hides nothing
        if path.stem in found:
            given = read_image(found[path.stem], min_size=min_size)
            mask = (given.pixels.mean(0) + 1) / 2
            if given.source_size != loaded.source_size:
                have, want = (f"{h}x{w}" for h, w in (given.source_size, loaded.source_size))
                raise ValueError(
                    f"masks: {found[path.stem].name} is {have} pixels (height x width), {path.name} {want}"
                )
        images.append(SubjectImage(loaded.pixels, mask, caption_of(path, captions[path.parent])))
    return images


def _by_stem(masks: Sequence[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in masks:
        if path.stem in named:
            raise ValueError(f"masks: {named[path.stem].name} and {path.name} are both for {path.stem!r}; keep one")
        named[path.stem] = path
    return named


def add_masks(
    images: Sequence[SubjectImage], word: str, segmenter: Segmenter | None, callbacks: Callbacks | None = None
) -> list[SubjectImage]:
    """The images, with a mask by the segmenter where one has none; with no segmenter, as they are.

    Args:
        images: images of the subject.
        word: what it is, in plain words.
        segmenter: finds it.
        callbacks: told of an image in which it is not found, and which keeps counting as a whole.

    Raises:
        ValueError: it is found in no image.
    """
    if segmenter is None:
        return list(images)
    masked, problem, callbacks = [], "", callbacks or Callbacks()
    for index, image in enumerate(images):
        mask = image.mask
        if mask is None:
            callbacks.check()
            try:
                mask = segmenter.segment(image.pixels[:, None], [word])[0, 0]  # [1,1,H,W] -> [H,W]
            except ValueError as error:
                problem = str(error)
                callbacks.log(f"image {index + 1}: all of it counts ({error})")
        masked.append(replace(image, mask=mask))
    if problem and all(image.mask is None for image in masked):
        raise ValueError(f"masks: the segmenter finds {word!r} in none of {len(masked)} images ({problem})")
    return masked


def load_captioned_clips(folder: Path, frames: int, height: int, width: int) -> list[CaptionedClip]:
    """All clips of a folder with the captions that lie beside them.

    Raises:
        FileNotFoundError: no such folder, or a clip without caption.
        ValueError: no clip in it, or one that cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"auxiliary clips: {folder} is not a folder")
    paths = files_in(folder, CLIP_SUFFIXES)
    if not paths:
        raise ValueError(
            f"auxiliary clips: {folder} holds none; allowed: {', '.join(CLIP_SUFFIXES)}{passed_over(folder, [])}"
        )
    clips, captions = [], Captions(folder)
    for path in paths:
        caption = caption_of(path, captions)
        if caption is None:
            raise FileNotFoundError(f"auxiliary clips: {path.name} has no caption; write it to {path.stem}.txt")
        clips.append(CaptionedClip(load_clip(path, frames, size=(height, width)).pixels, caption))
    return clips


def load_motion_clip(
    path: Path,
    subjects: Mapping[str, Path | None] | Sequence[tuple[str, Path | None]],
    frames: int,
    fps: float | None = None,
    min_size: Size | None = None,
) -> MotionClip:
    """A clip of the motion, with masks of its subjects where they are given.

    Args:
        path: a video file or a folder of numbered images.
        subjects: who performs it, in plain words (a word twice if two are of a kind), and their masks,
            white on the subject, as long as the clip; or None.
        frames: how many are taken, F.
        fps: the rate wanted; None spreads the frames over the whole clip.
        min_size: larger frames are shrunk while they are read, as in ``read_image``; ``augmentation.needed_size``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a clip that cannot be read, masks for some subjects only, or not as long as the clip.
    """
    pairs = list(subjects.items() if isinstance(subjects, Mapping) else subjects)
    words = tuple(word for word, _ in pairs)
    given = [(word, masks) for word, masks in pairs if masks is not None]
    if given and len(given) < len(pairs):
        without = ", ".join(word for word, masks in pairs if masks is None)
        raise ValueError(f"masks: {without} has none; give masks for all subjects of {path.name}, or for none")
    clip = load_clip(path, frames, fps, min_size=min_size)
    if not given:
        return MotionClip(clip.pixels, words)
    length = count_frames(path)
    for word, mask in given:
        if (have := count_frames(mask)) != length:
            raise ValueError(f"masks: those of {word!r} are {have}, {path.name} has {length} frames; give one for each")
    masks = [load_masks(mask, clip.indices, min_size) for _, mask in given]
    if len({mask.shape for mask in masks}) > 1:
        raise ValueError(f"masks: those of {path.name} are of several sizes; make them as large as the clip")
    return MotionClip(clip.pixels, words, torch.stack(masks))


def make_motion_clip(
    images: Frames,
    subjects: Sequence[str],
    masks: torch.Tensor | None,
    frames: int,
    min_size: Size | None = None,
) -> MotionClip:
    """A clip of the motion from what is in memory, brought to ``frames`` frames, evenly chosen.

    Args:
        images: frames [F, H, W, C] in 0..1, as image programs hold them; those that are taken are read, no others.
        subjects: who performs it, in plain words, N of them; none where nothing is taken out.
        masks: theirs, [N, F, H, W] in 0..1; with one frame it is for all.  None: found by the segmenter.
        frames: how many are taken.
        min_size: larger frames are shrunk, their aspect kept, to the smallest that covers (H, W).

    Raises:
        ValueError: a clip of one frame; masks of another number or length.
    """
    length = len(images)
    if length < 2:
        raise ValueError(f"clip: got {length} frame, and so no motion; give a clip of at least 2 frames")
    chosen = torch.linspace(0, length - 1, frames).round().long()
    if masks is not None:
        if len(masks) != len(subjects) or masks.shape[1] not in (1, length):
            raise ValueError(
                f"masks: got {len(masks)} of {masks.shape[1]} frames for {len(subjects)} subjects "
                f"({', '.join(subjects) or 'none'}) in a clip of {length} frames; give one for each "
                "subject, as long as the clip, or of a single frame"
            )
        masks = masks.expand(-1, length, -1, -1)[:, chosen]
        masks = masks if min_size is None else shrunk_pixels(masks, min_size)
    pixels = torch.cat([frames_to_pixels(images[i : i + 1], min_size) for i in chosen.tolist()], dim=1)
    return MotionClip(pixels, tuple(subjects), masks)


def caption_of(path: Path, captions: Captions | None = None) -> str | None:
    """The words of the text that is named as an image or clip is, or None; ``captions``: of its folder, if at hand."""
    text = (captions or Captions(path.parent)).of(path)
    return None if text is None else read_text(text, "caption").strip() or None
