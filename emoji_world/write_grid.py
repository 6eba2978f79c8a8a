"""Draw a half of the held-out world as a benchmark's folder (``videomage_core/evaluation/grid.py`` says its form).

    python -m emoji_world.write_grid test outputs/benchmark/test

What is asked is fixed here, before anything is run: pairs go round the half's characters, so that each
is in two; clips are performed by two whom this half does not customise.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from videomage_core.data.media import to_uint8
from videomage_core.evaluation.grid import GRID, Size
from videomage_core.evaluation.methods import FULL
from videomage_core.evaluation.tracking import match, track
from videomage_core.evaluation.ways import way

from .cast import Character, training_characters
from .examples import motion_clip, pictures
from .halves import DEVELOPMENT, TEST, Half
from .motions import TRAINED_PAIR
from .scene import SIZE, Scene, draw
from .scenery import BACKGROUNDS, PLACES

HALVES = {"development": DEVELOPMENT, "test": TEST}
PERFORMERS = {"development": ("pig", "cat"), "test": ("dog", "panda")}  # by noto, of the other half's concepts
PAIRS = {
    "development": (("dog", "panda"), ("frog", "monkey"), ("penguin", "chick")),
    "test": (
        ("cat", "fox"),
        ("pig", "rabbit"),
        ("robot", "octopus"),
        ("fox", "pig"),
        ("rabbit", "robot"),
        ("octopus", "cat"),
    ),
}
TRIPLES = {"development": (("dog", "panda", "frog"),), "test": (("cat", "pig", "robot"),)}
ABLATIONS = (FULL, "without L_mot", "without L_attn", "without SCS", "without guidance")
ALL = (*ABLATIONS, "averaged outputs", "MotionDirector", "the base alone")
STILL = (FULL, "without L_attn", "averaged outputs", "the base alone")
SWEEPS = ("lambda1", "lambda2", "omega", "template", "alpha", "tau")
BANK_SEED = 7_000_000  # far from the seeds of trainings, of samples and of the judge's bank
RENDERS = 16  # true ways of each motion
PLACE_RENDERS = 12


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", choices=tuple(HALVES))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    write_grid(options.half, options.folder)


def sizes(half: str) -> dict[str, Size]:
    """Quick, standard and full, of a half."""
    motions, seeds = HALVES[half].interactions, HALVES[half].seeds
    start = seeds[200]
    quick = Size(PAIRS[half][:1], motions[:1], ("grass",), (start,), (FULL, "without SCS", "the base alone"))
    standard = Size(
        PAIRS[half],
        motions,
        ("grass", "night"),
        tuple(range(start, start + 3)),
        ALL,
        TRIPLES[half],
        STILL,
    )
    if half == "development":  # sweeps are of this half alone
        quick = dataclasses.replace(quick, sweeps=("alpha",))
        standard = dataclasses.replace(
            standard, pairs=PAIRS[half][:1], motions=motions[:1], methods=(), triples=(), still_methods=(),
            sweeps=SWEEPS,
        )  # fmt: skip
    full = dataclasses.replace(
        standard, pairs=PAIRS[half], seeds=tuple(range(start, start + 10)), places=tuple(BACKGROUNDS)[:4]
    )
    return {"quick": quick, "standard": standard, "full": full}


def write_grid(half: str, folder: Path) -> None:
    """Draw everything; what is there already is written again, the same."""
    held_out = HALVES[half]
    for character in held_out.characters:
        home = folder / "subjects" / character.concept
        for index, picture in enumerate(pictures(character, held_out.seeds[0], f"<{character.concept}>"), start=1):
            save(to_uint8(picture.pixels[:, None])[0], home / f"{index}.png")
            (home / f"{index}.txt").write_text(f"{picture.prompt}\n", encoding="utf-8")
    prompts = {
        motion: _write_motion(half, held_out, index, motion, folder)
        for index, motion in enumerate(held_out.interactions)
    }
    for number, character in enumerate(training_characters()):
        _write_kind(number, character, folder / "kinds" / character.concept / character.artist)
    for place in BACKGROUNDS:
        for index in range(PLACE_RENDERS):
            still = draw(Scene((), "", place, BANK_SEED + index), frames=1)
            save(still.frames[0], folder / "places" / place / f"{index}.png")
    names = (*TRAINED_PAIR, *held_out.interactions)
    ways = {name: [true_way(name, seed).round(5).tolist() for seed in range(RENDERS)] for name in names}
    (folder / "ways.json").write_text(json.dumps(ways) + "\n", encoding="utf-8")
    (folder / GRID).write_text(_toml(half, prompts), encoding="utf-8")


def _write_motion(half: str, held_out: Half, index: int, motion: str, folder: Path) -> str:
    noto = {c.concept: c for c in training_characters() if c.artist == "noto"}
    clip, prompt = motion_clip(
        tuple(noto[name] for name in PERFORMERS[half]), motion, "plain", held_out.seeds[50 + index]
    )
    assert clip.masks is not None
    home = folder / "motions" / motion
    for frame in range(clip.pixels.shape[1]):
        save(to_uint8(clip.pixels[:, frame : frame + 1])[0], home / "clip" / f"{frame + 1}.png")
        for name, mask in zip(PERFORMERS[half], clip.masks, strict=True):
            save((mask[frame].numpy() * 255 + 0.5).astype(np.uint8), home / name / f"{frame + 1}.png")
    return prompt


def _write_kind(number: int, character: Character, folder: Path) -> None:
    """Somebody on every background, standing, small and large."""
    for index, place in enumerate(BACKGROUNDS):
        motion = ("standing still", "growing")[index % 2]
        frames = draw(Scene((character,), motion, place, BANK_SEED + 100 * number + index), frames=5).frames
        save(frames[2 + index % 3], folder / f"{index}.png")


def true_way(motion: str, seed: int) -> np.ndarray:
    """The tracked way of a true render of an interaction, performed by anybody."""
    rng = np.random.default_rng([seed, 13])
    cast = training_characters()
    chosen = tuple(cast[int(i)] for i in rng.choice(len(cast), 2, replace=False))
    drawing = draw(Scene(chosen, motion, str(rng.choice(list(BACKGROUNDS))), BANK_SEED + seed))
    truth = [np.stack([path.x, path.y], axis=1) * SIZE for path in drawing.paths]
    return way(match(track(drawing.frames, 2), truth))


def _toml(half: str, prompts: dict[str, str]) -> str:
    lines = [
        "# Written by emoji_world/write_grid.py.",
        'interaction = "a {first} is {motion} a {second} {place}"',
        'still = "a {first} is next to a {second} {place}"',
        'crowd = "a {first} is {motion} a {second} next to a {third} {place}"',
        "",
        "[subjects]",
        *(f'{c.concept} = "{c.concept}"' for c in HALVES[half].characters),
        "",
    ]
    for motion, prompt in prompts.items():
        lines += [f'[motions."{motion}"]', f"performers = {_list(PERFORMERS[half])}", f'prompt = "{prompt}"', ""]
    lines += ["[places]", *(f'{name} = "{words}"' for name, words in PLACES.items()), ""]
    for name, size in sizes(half).items():
        lines += [f"[sizes.{name}]", *(f"{key} = {_list(value)}" for key, value in vars(size).items()), ""]
    return "\n".join(lines)


def _list(values: Any) -> str:
    """A TOML array; JSON writes strings, numbers and lists alike."""
    return json.dumps([list(value) if isinstance(value, tuple) else value for value in values])


def save(pixels: np.ndarray, path: Path) -> None:
    """A picture [H, W, 3] or [H, W], uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    main()
