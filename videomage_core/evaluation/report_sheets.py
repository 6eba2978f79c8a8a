"""A benchmark report's images: sheets of videos, small plots of sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image

from ..data.augmentation import resize_clip
from ..data.contact_sheet import contact_sheet
from ..data.examples import load_motion_clip, load_subject_images
from ..data.images import MODELS_SEE, WHITE
from .benchmark import Results
from .grid import Grid
from .hypotheses import scores_of
from .methods import METHODS
from .report_tables import mean_of
from .sweep_plot import sweep_plot
from .video_cache import GeneratedVideo

BESIDE = 3  # sheets of groups in a row


def sheets(videos: Sequence[GeneratedVideo], grid: Grid, folder: Path, name: str) -> list[str]:
    """One sheet for each motion, and one for none: each group's images, the clip, and each method's video."""
    links = []
    for motion in dict.fromkeys(generated.cell.motion for generated in videos):
        groups: dict[tuple[str, ...], list[GeneratedVideo]] = {}
        for generated in videos:
            if generated.cell.motion == motion:
                groups.setdefault(generated.cell.subjects, []).append(generated)
        file = f"{name}_{(motion or 'still').replace(' ', '_')}.png"
        _grid([_sheet(groups[subjects], grid) for subjects in sorted(groups)]).save(folder / "images" / file)
        links.append(f"![{motion or 'without a motion'}](images/{file})")
    return links


def _sheet(group: Sequence[GeneratedVideo], grid: Grid) -> Image.Image:
    cell, (frames, height, width) = group[0].cell, group[0].video.shape[:3]
    rows, labels = [], []
    for subject in (grid.subjects[name] for name in cell.subjects):
        images = load_subject_images(subject.folder, min_size=MODELS_SEE)[:frames]
        rows.append(torch.cat([resize_clip(image.pixels[:, None], 1, height, width) for image in images], dim=1))
        labels.append(f"Images of {subject.token}")
    if cell.motion is not None:
        motion = grid.motions[cell.motion]
        rows.append(
            resize_clip(load_motion_clip(motion.clip, [], frames, min_size=MODELS_SEE).pixels, frames, height, width)
        )
        labels.append(f"The clip: {motion.prompt}")
    for generated in group:
        pixels = torch.from_numpy(generated.video).permute(3, 0, 1, 2)  # [F,H,W,3] -> [3,F,H,W]
        rows.append(pixels.float() / 127.5 - 1)
        base = METHODS[generated.method].combine == "base"
        labels.append(
            f"{generated.method}: {grid.plain_prompt(generated.cell) if base else grid.prompt(generated.cell)}"
        )
    return contact_sheet(rows, labels)


def _grid(sheets: Sequence[Image.Image]) -> Image.Image:
    """Up to BESIDE in a row."""
    lines = [sheets[i : i + BESIDE] for i in range(0, len(sheets), BESIDE)]
    width = max(sum(sheet.width for sheet in line) for line in lines)
    whole = Image.new("RGB", (width, sum(max(sheet.height for sheet in line) for line in lines)), WHITE)
    y = 0
    for line in lines:
        x = 0
        for sheet in line:
            whole.paste(sheet, (x, y))
            x += sheet.width
        y += max(sheet.height for sheet in line)
    return whole


def plots(results: Results, metrics: Mapping[str, bool], folder: Path, name: str) -> list[str]:
    """A plot of each sweep, with a panel for each metric."""
    links = []
    for sweep, every in results.sweeps.items():
        values = {value: records for value, records in every.items() if records}
        scored = [m for m in metrics if values and all(any(m in r.scores for r in rs) for rs in values.values())]
        if not scored:
            continue
        lines = {
            metric: [mean_of(scores_of(rs, value, metric), metric) for value, rs in values.items()] for metric in scored
        }
        file = f"{name}_{sweep}.png"
        sweep_plot(list(values), lines).save(folder / "images" / file)
        links.append(f"![{sweep}](images/{file})")
    return links
