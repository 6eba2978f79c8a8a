"""The rich world's data: the scenes of their seeds; stopped and started again, the same."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.world import dataset
from emoji_world.world.dataset import drawn
from emoji_world.world.sampler import random_scene
from emoji_world.world.scene import draw
from emoji_world.world.worlds import SMALL


def test_stored_are_the_scenes_of_their_seeds(tmp_path):
    clips, stills = drawn(tmp_path, 3, still=False), drawn(tmp_path, 4, still=True)
    assert clips.pixels.shape == (3, 9, 48, 48, 3) and stills.pixels.shape == (4, 1, 48, 48, 3)
    assert np.array_equal(clips.pixels[2], draw(random_scene(2), frames=9).frames)
    assert stills.scenes == [random_scene(seed, still=True) for seed in range(4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips-3.npy", "stills-4.npy"]


def test_scenes_of_another_world_are_refused(tmp_path):
    drawn(tmp_path, 4, still=True)
    with pytest.raises(
        ValueError, match=r"folder: .*stills-4.npy holds other scenes than the world 'small' draws today"
    ):
        drawn(tmp_path, 4, still=True, world=SMALL)


def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    whole = drawn(tmp_path / "whole", 6, still=True).pixels
    monkeypatch.setattr(dataset, "FLUSHED", 2)
    seen = []

    def stops_at_five(scene, frames):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(scene.seed)
        return draw(scene, frames=frames)

    monkeypatch.setattr(dataset, "draw", stops_at_five)
    with pytest.raises(KeyboardInterrupt):
        drawn(tmp_path, 6, still=True)
    assert (tmp_path / "stills-6.done").read_text() == "4\n"
    again = []
    monkeypatch.setattr(dataset, "draw", lambda scene, frames: again.append(scene.seed) or draw(scene, frames=frames))
    assert np.array_equal(drawn(tmp_path, 6, still=True).pixels, whole)
    assert again[:2] == [4, 5]  # then those compared
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob("*.done"))
