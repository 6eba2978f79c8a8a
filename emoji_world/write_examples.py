"""Write the examples that the demonstration learns from, as a user's own files would be.

    python -m emoji_world.write_examples

Two held-out characters in four pictures each with their prompts, other artists' drawings of their
kind to tell them from, and a clip of a held-out interaction with the masks of its two performers,
all of the development half.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from videomage_core.data.media import to_uint8

from .cast import training_characters
from .examples import motion_clip, pictures, to_pixels
from .halves import DEVELOPMENT
from .scene import Scene, draw

FOLDER = Path(__file__).parent.parent / "videomage_core" / "assets" / "examples"
SUBJECTS = ("dog", "panda")
PERFORMERS = ("pig", "cat")


def main(folder: Path = FOLDER) -> None:
    for name in SUBJECTS:
        character = next(c for c in DEVELOPMENT.characters if c.concept == name)
        for index, picture in enumerate(pictures(character, DEVELOPMENT.seeds[0], f"<{name}>"), start=1):
            _write(picture.pixels[:, None], folder / name / f"{index}.png")
            (folder / name / f"{index}.txt").write_text(f"{picture.prompt}\n", encoding="utf-8")
        for rival in training_characters():
            if rival.concept == name:
                still = draw(Scene((rival,), "standing still", "plain", DEVELOPMENT.seeds[1]), frames=1)
                _write(to_pixels(still.frames), folder / "rivals" / name / f"{rival.artist}.png")
    noto = {c.concept: c for c in training_characters() if c.artist == "noto"}
    clip, _ = motion_clip(tuple(noto[name] for name in PERFORMERS), "riding", "plain", DEVELOPMENT.seeds[50])
    assert clip.masks is not None
    for name, video in (("clip", clip.pixels), *zip(PERFORMERS, _grey(clip.masks), strict=True)):
        for frame in range(video.shape[1]):
            _write(video[:, frame : frame + 1], folder / "riding" / name / f"{frame + 1}.png")


def _grey(masks: torch.Tensor) -> torch.Tensor:
    return (masks * 2 - 1)[:, None].expand(-1, 3, -1, -1, -1)  # [N,F,H,W] -> [N,3,F,H,W]


def _write(pixels: torch.Tensor, path: Path) -> None:
    frame = to_uint8(pixels)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = bool(np.all(frame == frame[..., :1]))
    Image.fromarray(frame[..., 0] if grey else frame).save(path, optimize=True)


if __name__ == "__main__":
    main()
