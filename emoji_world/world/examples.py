"""What a user would bring, drawn: pictures of a held-out character, a clip of a held-out interaction."""

from __future__ import annotations

import torch

from videomage_core.data.examples import MotionClip, SubjectImage

from .backgrounds import PLACES
from .characters import Character, with_article
from .scene import Scene, caption, draw

PICTURE_PLACES = ("grass", "beach", "plain", "snow")


def pictures(character: Character, seed: int, token: str, count: int = 4) -> list[SubjectImage]:
    """Pictures of one character, turned, mirrored and scaled by chance, on several backgrounds.

    Args:
        character: who.
        seed: decides everything; of the half the character is from.
        token: stands in each picture's own prompt, "A <toy> on grass".
        count: how many.
    """
    images = []
    for index in range(count):
        place = PICTURE_PLACES[index % len(PICTURE_PLACES)]
        drawing = draw(Scene((character,), "standing still", place, seed + index), frames=1)
        pixels = to_pixels(drawing.frames)[:, 0]  # [3,1,H,W] -> [3,H,W]
        images.append(SubjectImage(pixels, None, f"A {token} {PLACES[place]}"))
    return images


def motion_clip(performers: tuple[Character, ...], motion: str, background: str, seed: int) -> tuple[MotionClip, str]:
    """A clip of characters performing a motion, with exact masks, and its prompt in plain words."""
    scene = Scene(performers, motion, background, seed)
    drawing = draw(scene)
    names = tuple(character.concept for character in performers)
    masks = torch.stack([torch.from_numpy(mask) for mask in drawing.masks])
    return MotionClip(to_pixels(drawing.frames), names, masks), scene.caption


def prompt(subjects: tuple[str, ...], motion: str, background: str) -> str:
    """A caption whose subjects may be special tokens: ``("<toy>",)`` gives "a <toy> is ..."."""
    if any(subject.startswith("<") for subject in subjects):
        who = [f"a {s}" if s.startswith("<") else with_article(s) for s in subjects]
        doing = f"{who[0]} is {motion}" + (f" {who[1]}" if len(who) == 2 else "")
        return f"{doing} {PLACES[background]}"
    return caption(subjects, motion, background)


def to_pixels(frames: object) -> torch.Tensor:
    """uint8 [F, H, W, 3] -> [3, F, H, W] in -1..1."""
    return torch.as_tensor(frames).permute(3, 0, 1, 2).float() / 127.5 - 1
