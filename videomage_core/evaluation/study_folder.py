"""A benchmark's videos as the folder of a human study (Sec. 7.2); ``study/trials.py`` says its form."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from ..data.examples import load_motion_clip
from ..data.images import MODELS_SEE, list_images
from ..data.media import save_video
from .grid import Grid
from .video_cache import GeneratedVideo

SIDE = 384  # pixels; smaller videos are enlarged about to it, or nobody could judge them


def write_study(videos: Sequence[GeneratedVideo], grid: Grid, fps: float, folder: Path) -> int:
    """Write videos of pairs that do a motion with their images, clip and prompt.

    Args:
        videos: of one grid; those without a motion, or of three subjects, are left out.
        grid: the one they are of.
        fps: frames per second of the videos.
        folder: of the study, which ``require_new`` has passed.

    Returns:
        The number of videos.
    """
    chosen = [v for v in videos if v.cell.motion is not None and len(v.cell.subjects) == 2]
    for video in chosen:
        cell = video.cell
        pixels = torch.from_numpy(video.video).permute(3, 0, 1, 2).float() / 127.5 - 1  # [F,H,W,3] -> [3,F,H,W]
        _save(pixels, folder / video.method / f"{cell.name}.mp4", fps)
        references = folder / "references" / cell.name
        if (references / "prompt.txt").is_file():  # written last
            continue
        references.mkdir(parents=True, exist_ok=True)
        for name in cell.subjects:
            image = list_images(grid.subjects[name].folder)[0]
            shutil.copyfile(image, references / f"{name}{image.suffix.lower()}")
        assert cell.motion is not None
        clip = load_motion_clip(grid.motions[cell.motion].clip, [], pixels.shape[1], min_size=MODELS_SEE)
        _save(clip.pixels, references / "motion.mp4", fps)
        (references / "prompt.txt").write_text(f"{grid.plain_prompt(cell)}\n", encoding="utf-8")
    return len(chosen)


def require_new(folder: Path) -> None:
    """ValueError for a folder that holds something: videos of another benchmark would be no part of the study."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"--study: {folder} is there already; give a folder that is not, or an empty one")


def _save(pixels: torch.Tensor, path: Path, fps: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_video(pixels, path, fps, scale=max(1, round(SIDE / max(pixels.shape[2:]))))
