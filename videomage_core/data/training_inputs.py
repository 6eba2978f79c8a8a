"""One line before each training: what is learned from, and what of the folders is passed over and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..folders import files_in
from .examples import CaptionedClip, MotionClip, SubjectImage
from .images import list_images
from .media_files import CLIP_SUFFIXES, passed_over


def subject_inputs(
    images: Sequence[SubjectImage], folder: Path | None = None, masks: Path | None = None, segmented: bool = False
) -> str:
    """One line for the user before a training: what is learned from, and what of the folders is passed over.

    Args:
        images: as the training gets them.
        folder: that they, or some of them, were read from.
        masks: the folder of their masks.
        segmented: whether a segmenter will mask the images that have none.
    """
    counts = (len(images), sum(i.prompt is not None for i in images), sum(i.mask is not None for i in images))
    line = ", ".join(_count(n, what) for n, what in zip(counts, ("image", "caption", "mask"), strict=True))
    if segmented and counts[2] < counts[0]:
        line += f" and {_count(counts[0] - counts[2], 'mask')} by the segmenter"
    if folder is not None:
        paths = list_images(folder)
        line += passed_over(folder, paths)
        if masks is not None:
            stems = {path.stem for path in paths}
            line += passed_over(masks, [p for p in list_images(masks, "masks") if p.stem in stems], "mask")
    return line


def motion_inputs(clips: Sequence[MotionClip], folders: Sequence[Path] = ()) -> str:
    """The same of a motion's clips; of ``folders``, those that are folders of images."""
    parts = [
        f"a clip of {_count(clip.pixels.shape[1], 'frame')} with "
        + (f"masks of {' and '.join(clip.subjects)}" if clip.masks is not None else "no masks")
        for clip in clips
    ]
    left = [passed_over(path, list_images(path), "frame") for path in folders if path.is_dir()]
    return "; ".join(parts) + "".join(left)


def clip_inputs(clips: Sequence[CaptionedClip], folder: Path) -> str:
    """The same of the clips for L_reg."""
    return f"{_count(len(clips), 'auxiliary clip')}{passed_over(folder, files_in(folder, CLIP_SUFFIXES), 'clip')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
