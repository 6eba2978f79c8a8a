"""A grid as small as can be: two subjects, one motion, one place; drawn in some seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from emoji_world.fixtures.write_grid import save, true_trajectory
from emoji_world.world.characters import Character
from emoji_world.world.examples import motion_clip
from emoji_world.world.scene import Scene, draw
from videomage_core.data.media import to_uint8

TOML = """
with_motion = "a {first} is {motion} a {second} {place}"
no_motion = "a {first} is next to a {second} {place}"
[subjects]
rex = "dog"
po = "panda"
[motions."riding"]
performers = ["pig", "cat"]
prompt = "a pig is riding a cat on a plain background"
[places]
grass = "on grass"
night = "at night"
[subsets.quick]
pairs = [["rex", "po"]]
motions = ["riding"]
places = ["grass"]
seeds = [3]
methods = ["VideoMage", "without SCS", "averaged outputs", "composed effects", "the base alone"]
no_motion_methods = ["VideoMage", "the base alone"]
sweeps = ["alpha"]
"""
WHO = {"rex": Character("fluent-flat", "dog"), "po": Character("fluent-flat", "panda")}


def write_small_grid(folder: Path) -> Path:
    for name, who in WHO.items():
        for index in range(2):
            still = draw(Scene((who,), "standing still", "beach", index), frames=1)
            save(still.frames[0], folder / "subjects" / name / f"{index}.png")
            (folder / "subjects" / name / f"{index}.txt").write_text(f"A <{name}> on a beach")
    for concept in ("dog", "panda", "fox"):
        for artist in ("twemoji", "emojione"):
            still = draw(Scene((Character(artist, concept),), "standing still", "plain", 1), frames=1)
            save(still.frames[0], folder / "kinds" / concept / artist / "1.png")
    for place in ("grass", "night"):
        save(draw(Scene((), "", place, 5), frames=1).frames[0], folder / "places" / place / "1.png")
    clip, _ = motion_clip((Character("noto", "pig"), Character("noto", "cat")), "riding", "plain", 4)
    assert clip.masks is not None
    for frame in range(8):
        home = folder / "motions" / "riding"
        save(to_uint8(clip.pixels[:, frame : frame + 1])[0], home / "clip" / f"{frame + 1}.png")
        for name, mask in zip(("pig", "cat"), clip.masks, strict=True):
            save((mask[frame].numpy() * 255).astype(np.uint8), home / name / f"{frame + 1}.png")
    ways = {motion: [true_trajectory(motion, seed).tolist() for seed in range(3)] for motion in ("riding", "next to")}
    (folder / "trajectories.json").write_text(json.dumps(ways))
    (folder / "grid.toml").write_text(TOML)
    return folder
