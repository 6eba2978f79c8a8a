"""The training data of the built-in base: drawn once, kept as arrays, the same for every run.

``pixels`` are uint8 [N, F, H, W, 3].  Captions are not stored: ``training_caption`` phrases a
scene anew, in different words, each time it is shown.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .backgrounds import PLACES
from .characters import CONCEPTS, with_article
from .scene import FRAMES, SIZE, Scene, caption, draw, random_scene
from .small_motions import TRAINED_PAIR, TRAINED_SINGLE


@dataclass(frozen=True)
class Dataset:
    """Drawn scenes.

    Attributes:
        pixels: uint8 [N, F, 48, 48, 3], memory-mapped.
        scenes: what was drawn, N of them.
    """

    pixels: np.ndarray
    scenes: list[Scene]


def drawn(folder: Path, count: int, still: bool) -> Dataset:
    """The first ``count`` scenes, drawn on all cores where the folder does not hold them yet.

    Args:
        folder: where ``stills.npy`` and ``clips.npy`` are kept.
        count: number of scenes N.
        still: one frame of each, of scenes that one frame can show; else clips of 8 frames.
    """
    name, frames = ("stills", 1) if still else ("clips", FRAMES)
    path = folder / f"{name}-{count}.npy"
    if not path.is_file():
        partial = path.with_suffix(".partial")
        shape = (count, frames, SIZE, SIZE, 3)
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        jobs = ((seed, still, frames) for seed in range(count))
        with multiprocessing.get_context("fork").Pool() as pool:
            for index, clip in enumerate(pool.imap(_draw, jobs, chunksize=64)):
                pixels[index] = clip
        pixels.flush()
        os.replace(partial, path)
    return Dataset(np.load(path, mmap_mode="r"), [random_scene(seed, still) for seed in range(count)])


def _draw(job: tuple[int, bool, int]) -> np.ndarray:
    seed, still, frames = job
    return draw(random_scene(seed, still), frames=frames).frames


def unknown_word(rng: np.random.Generator, suffix: str = "") -> str:
    """A pronounceable word that means nothing: the base learns to take a word it does not know in its stride."""
    syllables = ["".join((rng.choice(list("bdfgjklmnprstvwz")), rng.choice(list("aeiou")))) for _ in range(2)]
    return "".join(syllables) + str(rng.choice(list("bdgklmnprst"))) + suffix


def training_caption(scene: Scene, rng: np.random.Generator, still: bool) -> str:
    """One phrasing of a scene.

    Mostly plain English.  One in ten is empty (classifier-free guidance); a few leave the place
    out, call a character by a general or an unknown word, or its motion by an unknown verb.
    """
    if rng.random() < 0.1:
        return ""
    place = scene.background if rng.random() < 0.9 else None
    nouns = [c.concept for c in scene.characters]
    for index, noun in enumerate(nouns):
        draw_ = rng.random()
        if draw_ < 0.03:
            nouns[index] = unknown_word(rng)
        elif draw_ < 0.06:
            nouns[index] = "robot" if noun == "robot" else "animal"
        elif draw_ < 0.08:
            nouns[index] = "character"
    who = tuple(nouns)
    at = f" {PLACES[place]}" if place else ""
    style = rng.random()
    resting = scene.motion in ("standing still", "next to")
    if who and resting and (still or style < 0.4):
        text = " and ".join(map(with_article, who)) + at
        if scene.motion == "next to" and style < 0.5:
            text = caption(who, scene.motion, place)
        lead = ("", "", "a picture of ", "a photo of ") if still else ("", "a static video of ")
        text = str(rng.choice(lead)) + text
    elif who and rng.random() < 0.08:
        verb = unknown_word(rng, "ing")
        text = caption(who, verb, place)
    else:
        text = caption(who, scene.motion, place)
        text = str(rng.choice(("", "", "", "a video of "))) + text
    return text + ("." if rng.random() < 0.1 else "")


_OTHER_WORDS = "a an the is and of in on at to picture photo static video animal character empty scene . ,"


def vocabulary() -> list[str]:
    """The words that become one token each."""
    words = set(_OTHER_WORDS.split())
    for phrase in (*CONCEPTS, *TRAINED_PAIR, *TRAINED_SINGLE, *PLACES.values()):
        words.update(phrase.split())
    return sorted(words)


def write_json(path: Path, value: object) -> None:
    """Write JSON with a final newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
