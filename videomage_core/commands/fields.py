"""Flags that hold several things: ``WORD=MASKS,MASKS``, ``FILE=WORDS=CLASS``; double quotes keep a separator in one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import FusionConfig


def split_fields(text: str, separator: str, flag: str) -> list[str]:
    """The fields of a flag's value, without blanks around them.

    A field that holds the separator stands in double quotes, as in a csv file: ``person="a,b.mp4",c.mp4``; a double
    quote in it is written twice.

    Raises:
        ValueError: a quote that does not end, or does not begin and end its field.
    """
    try:
        (fields,) = csv.reader([text], delimiter=separator, strict=True, skipinitialspace=True)
    except csv.Error as error:
        raise ValueError(f"{flag}: got {text!r}, whose double quotes do not go around one field each") from error
    return [field.strip() for field in fields]


def subjects_of_clips(given: Sequence[str], clips: int) -> list[list[tuple[str, Path | None]]]:
    """``person=a.mp4,b.mp4`` -> who is seen in each clip, with masks where they are given."""
    subjects: list[list[tuple[str, Path | None]]] = [[] for _ in range(clips)]
    for text in given:
        word, _, files = text.partition("=")
        masks = [Path(name) for name in split_fields(files, ",", "--subject")] if files else []
        if masks and len(masks) != clips:
            raise ValueError(
                f"--subject: got {len(masks)} masks for {word.strip()!r} and {clips} clips; give one for each clip, "
                "with commas: person=a_masks.mp4,b_masks.mp4; a name with a comma in it stands in double quotes"
            )
        for index in range(clips):
            subjects[index].append((word.strip(), masks[index] if masks else None))
    return subjects


def cutout_of(text: str, config: FusionConfig) -> tuple[str, Any, Any]:
    """The token, and its clip and mask."""
    from ..data.augmentation import needed_size
    from ..data.examples import load_motion_clip

    parts = split_fields(text, "=", "--cutout")
    if len(parts) != 3 or not all(parts):
        raise ValueError(
            f"--cutout: got {text!r}, write TOKEN=CLIP=MASKS, e.g. '<toy>=toy.mp4=toy_masks.mp4'; a name with an "
            "equals sign in it stands in double quotes"
        )
    clip = load_motion_clip(Path(parts[1]), [(parts[0], Path(parts[2]))], config.frames, None, needed_size(config))
    assert clip.masks is not None
    return parts[0], clip.pixels, clip.masks[0]


def trigger_of(text: str) -> tuple[Path, tuple[str, str]]:
    """``FILE=WORDS=CLASS`` -> the file, its trigger words and its superclass."""
    parts = split_fields(text, "=", "--trigger")
    if len(parts) != 3 or not all(parts):
        raise ValueError(
            f"--trigger: got {text!r}, write FILE=WORDS=CLASS, e.g. cup.safetensors='sks cup'=cup; a name with an "
            "equals sign in it stands in double quotes"
        )
    return Path(parts[0]), (parts[1], parts[2])
