"""The tracker finds, without masks, what the world's own masks say."""

from __future__ import annotations

import numpy as np
import pytest

from emoji_world.world.backgrounds import BACKGROUNDS
from emoji_world.world.characters import Character
from emoji_world.world.scene import Drawing, Scene, draw
from emoji_world.world.small_motions import TRAINED_PAIR, TRAINED_SINGLE
from videomage_core.evaluation.tracking import crops, foreground, match, overlap, row_colours, track

PANDA, ROBOT, FOX = Character("noto", "panda"), Character("twemoji", "robot"), Character("emojione", "fox")


def true_centres(drawing: Drawing) -> list[np.ndarray]:
    """The mean of what is seen of each character, [F, 2] in pixels."""
    grid = np.arange(48) + 0.5
    return [
        np.stack([(m * grid).sum((1, 2)), (m * grid[:, None]).sum((1, 2))], axis=1) / m.sum((1, 2))[:, None]
        for m in drawing.masks
    ]


def box_of(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask > 0.25)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("motion", TRAINED_SINGLE)
@pytest.mark.parametrize("background", ["grass", "night", "water"])
def test_one_character_is_where_it_was_drawn(motion: str, background: str) -> None:
    drawing = draw(Scene((FOX,), motion, background, 21))
    (tracked,) = track(drawing.frames, 1)
    assert np.linalg.norm(tracked.centres - true_centres(drawing)[0], axis=1).mean() < 1.5
    assert np.mean([overlap(tracked.boxes[f], box_of(drawing.masks[0][f])) for f in range(8)]) > 0.8


@pytest.mark.parametrize("motion", TRAINED_PAIR)
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_two_characters_are_told_apart_and_keep_their_identity(motion: str, background: str) -> None:
    drawing = draw(Scene((ROBOT, FOX), motion, background, 22))
    centres = true_centres(drawing)
    pair = match(track(drawing.frames, 2), centres)
    for tracked, true, mask in zip(pair, centres, drawing.masks, strict=True):
        assert np.linalg.norm(tracked.centres - true, axis=1).max() < 3
        assert np.mean([overlap(tracked.boxes[f], box_of(mask[f])) for f in range(8)]) > 0.7


@pytest.mark.parametrize("places", [(10, 24, 38), (9, 39, 24)])
def test_three_characters_are_told_apart_though_they_move(places: tuple[int, ...]) -> None:
    video = np.full((8, 48, 48, 3), 240, dtype=np.uint8)
    colours = ((200, 30, 30), (30, 160, 30), (30, 30, 200))
    order = np.argsort(places)
    for frame in range(8):
        for x, y, colour in zip(places, (14 + frame, 30 - frame, 36), colours, strict=True):
            video[frame, y - 5 : y + 5, x - 4 : x + 4] = colour
    tracks = track(video, 3)
    for tracked, index in zip(tracks, order, strict=True):
        true_mask = np.all(video == colours[index], axis=-1)
        assert (tracked.masks == true_mask).all()


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_an_empty_scene_has_no_foreground(background: str) -> None:
    video = draw(Scene((), "", background, 23)).frames
    assert not foreground(video).any()
    (nobody,) = track(video, 1)
    assert not nobody.found.any() and len(crops(video, nobody, 32)) == 0


def test_row_colours_are_the_backgrounds_even_behind_characters() -> None:
    empty = draw(Scene((), "", "beach", 24)).frames
    peopled = draw(Scene((PANDA, ROBOT), "walking towards", "beach", 24)).frames
    assert np.abs(row_colours(peopled) - row_colours(empty)).max() < 3


def test_white_fur_inside_a_dark_outline_belongs_to_the_character() -> None:
    drawing = draw(Scene((PANDA,), "standing still", "snow", 25))
    inside = drawing.masks[0] > 0.9
    assert foreground(drawing.frames)[inside].mean() > 0.75


def test_crops_show_the_character_alone() -> None:
    drawing = draw(Scene((ROBOT, FOX), "next to", "grass", 26))
    for tracked in track(drawing.frames, 2):
        images = crops(drawing.frames, tracked, 40)
        assert images.shape == (8, 3, 40, 40) and images.min() >= 0 and images.max() <= 1
        assert (images[:, :, 0, 0] - 0.5).abs().max() < 0.05  # grey in the corner: no grass


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="count: got 4, allowed: 0, 1, 2, 3"):
        track(np.zeros((8, 48, 48, 3), np.uint8), 4)
    with pytest.raises(ValueError, match="video: got float32"):
        foreground(np.zeros((8, 48, 48, 3), np.float32))
