"""Write the examples that the demonstration learns from, as a user's own files would be.

    python -m emoji_world.write_examples

A held-out dog in four pictures with their prompts, and a clip of a held-out interaction with the
masks of its two performers, all of the development half.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from videomage_core.data.media import to_uint8

from .cast import training_characters
from .examples import motion_clip, pictures
from .halves import DEVELOPMENT

FOLDER = Path(__file__).parent.parent / "videomage_core" / "assets" / "examples"
PERFORMERS = ("pig", "cat")


def main(folder: Path = FOLDER) -> None:
    dog = next(c for c in DEVELOPMENT.characters if c.concept == "dog")
    (folder / "dog").mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures(dog, DEVELOPMENT.seeds[0], "<dog>"), start=1):
        _write(picture.pixels[:, None], folder / "dog" / f"{index}.png")
        (folder / "dog" / f"{index}.txt").write_text(f"{picture.prompt}\n", encoding="utf-8")
    noto = {c.concept: c for c in training_characters() if c.artist == "noto"}
    clip, _ = motion_clip(tuple(noto[name] for name in PERFORMERS), "riding", "plain", DEVELOPMENT.seeds[50])
    assert clip.masks is not None
    for name, video in (("clip", clip.pixels), *zip(PERFORMERS, _grey(clip.masks), strict=True)):
        target = folder / "riding" / name
        target.mkdir(parents=True, exist_ok=True)
        for frame in range(video.shape[1]):
            _write(video[:, frame : frame + 1], target / f"{frame + 1}.png")


def _grey(masks: torch.Tensor) -> torch.Tensor:
    return (masks * 2 - 1)[:, None].expand(-1, 3, -1, -1, -1)  # [N,F,H,W] -> [N,3,F,H,W]


def _write(pixels: torch.Tensor, path: Path) -> None:
    frame = to_uint8(pixels)[0]
    grey = bool(np.all(frame == frame[..., :1]))
    Image.fromarray(frame[..., 0] if grey else frame).save(path, optimize=True)


if __name__ == "__main__":
    main()
