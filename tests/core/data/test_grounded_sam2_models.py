"""Masks from words with the tiny models of the emoji world, and real photos where they are at hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from emoji_world.fixtures.weight_conversion import sam2_folder
from emoji_world.reports import segmentation_report as world
from tests.core.data.only_words import OnlyWords
from videomage_core.config import SegmentationConfig
from videomage_core.data import grounded_sam2 as g
from videomage_core.data.grounded_sam2 import GroundedSam2
from videomage_core.data.images import list_images, read_image
from videomage_core.data.media import load_clip
from videomage_core.segmentation.tracker import load_tracker

DATA = Path(__file__).parents[4] / "shared" / "data"


# --- a real SAM 2, tiny, and a real GroundingDINO, of random weights


def trackers(tmp_path: Path) -> list[Path]:
    """The emoji world's SAM 2 as a folder, and as the package's file where the package is there."""
    files = [sam2_folder(world.SAM2, tmp_path / "sam2-emoji")]
    return [world.SAM2, *files] if importlib.util.find_spec("sam2") is not None else files


def with_true_boxes(monkeypatch, file: Path, boxes: dict[int, dict[str, list[float]]], **config) -> GroundedSam2:
    """SAM 2 behind a detector that knows the boxes: {frame: {word: box}}, of 32 pixels a side."""
    monkeypatch.setattr(g, "check_detector", lambda *_: None)
    words = tuple({word for here in boxes.values() for word in here})
    looked = iter([*sorted(boxes), 98, 98])  # 98: nothing to be seen

    class Knows(OnlyWords):
        def find(self, image, caption):
            image = torch.full_like(image, (next(looked) / 100 + 1) / 2)
            image[0] = (image[0] - 0.485) / 0.229
            return super().find(image, caption)

    monkeypatch.setattr(g, "load_detector", lambda *_: Knows(boxes, words))
    return GroundedSam2(Path("none"), file, config=SegmentationConfig(detector_image_size=128, **config))


def scaled(drawing, f: int) -> dict[str, list[float]]:
    """The true box of the first subject in frame ``f``, where it is seen, of an image of 32 pixels."""
    mask = world.true_masks(drawing)[0, f]
    return {"dog": (world.box_of(mask.float()) * 32 / mask.shape[0]).tolist()} if mask.float().mean() > 0.01 else {}


def test_masks_follow_in_scenes_never_seen(tmp_path, monkeypatch):
    """A short version of ``python -m emoji_world.reports.segmentation_report``, through the whole segmenter."""
    for file in trackers(tmp_path):
        for new in (False, True):
            scores = []
            for _, drawing in world.held_out_scenes(4, 1, new):
                segmenter = with_true_boxes(monkeypatch, file, {0: scaled(drawing, 0)})
                found = segmenter.segment(world.pixels_of(drawing), ["dog"]) > 0.5
                scores.append(world.iou(found, world.true_masks(drawing)))
            assert float(torch.cat(scores)[:, 0].mean()) > 0.65 and float(torch.cat(scores).mean()) > 0.45


def test_two_subjects_have_a_mask_each_in_the_first_frame(tmp_path):
    """Where they touch, too; in later frames the tiny model loses one of two, as the card says."""
    for file in trackers(tmp_path):
        tracker = load_tracker(file, torch.device("cpu"))
        for new in (False, True):
            scores = []
            for _, drawing in world.held_out_scenes(6, 2, new):
                true = world.true_masks(drawing)[:, :1]
                boxes = torch.stack([world.box_of(mask.float()) for mask in true[:, 0]])
                with torch.no_grad():
                    found = tracker.follow(world.pixels_of(drawing)[:, :1], 0, boxes, lambda: None)
                scores.append(world.iou(found, true))
            assert float(torch.cat(scores).mean()) > 0.6, (file, new)


def test_a_subject_that_comes_later_and_one_that_is_hidden_for_long(tmp_path, monkeypatch):
    """The scene's first frames, or those in its middle, show another place: nothing there, and found again after."""
    _, drawing = next(world.held_out_scenes(1, 1, True))
    pixels, true = world.pixels_of(drawing), world.true_masks(drawing)
    empty = torch.from_numpy(world.draw(world.Scene((), "", "snow", 3), 1, world.SIDE).frames)
    away = empty.permute(3, 0, 1, 2).float() / 127.5 - 1
    for hidden in (range(4), range(2, 4)):
        shown, wanted = pixels.clone(), true.clone()
        shown[:, list(hidden)], wanted[:, list(hidden)] = away, False
        boxes = {f: {} if f in hidden else scaled(drawing, f) for f in (0, 4)}
        boxes[4] = scaled(drawing, 4)
        for file in trackers(tmp_path):
            segmenter = with_true_boxes(monkeypatch, file, boxes, detection_interval=4)
            found = segmenter.segment(shown, ["dog"]) > 0.5
            scores = world.iou(found, wanted)[0]
            assert float(scores[4:].mean()) > 0.3, (hidden, scores)  # the model is tiny; 0 where it is not found


@pytest.mark.parametrize("frames", [1, 2, 24])
def test_clips_of_any_length(tmp_path, detector_both_ways, frames):
    """All of it real; the same word twice gets two boxes."""
    drawing = world.draw(next(world.held_out_scenes(1, 1, True))[0], frames, 48)
    for file in trackers(tmp_path):
        segmenter = GroundedSam2(detector_both_ways[2], file, config=LOW)
        masks = masks_or_what_is_wrong(segmenter, world.pixels_of(drawing), "dog")
        assert masks is None or (masks.shape == (1, frames, 48, 48) and set(masks.unique().tolist()) <= {0.0, 1.0})


def test_half_precision_finds_the_same(tmp_path, monkeypatch):
    """As on a GPU, with the CPU's bf16."""
    _, drawing = next(world.held_out_scenes(1, 1, True))
    for file in trackers(tmp_path):
        found = [
            with_true_boxes(monkeypatch, file, {0: scaled(drawing, 0)}, dtype=precision).segment(
                world.pixels_of(drawing), ["dog"]
            )
            > 0.5
            for precision in ("fp32", "bf16")
        ]
        assert float(world.iou(*found).mean()) > 0.85


LOW = SegmentationConfig(detector_image_size=128, box_threshold=0.0, text_threshold=0.0)


def test_real_photos_and_a_real_clip_pass_through_both_ways_alike(tmp_path, detector_both_ways):
    if not DATA.is_dir():
        pytest.skip("no shared/data beside the repository: real photos and clips not read")
    file, bert, folder = detector_both_ways
    ways = [GroundedSam2(folder, sam2_folder(world.SAM2, tmp_path / "sam2-emoji"), config=LOW)]
    if all(importlib.util.find_spec(package) for package in ("groundingdino", "sam2")):
        ways.append(GroundedSam2(file, world.SAM2, bert, config=LOW))
    given = [("cat", load_clip(DATA / "motion" / "muybridge_cat", 24).pixels)]
    for name, word in (("dog6", "dog"), ("cat2", "cat"), ("robot_toy", "toy"), ("bear_plushie", "stuffed animal")):
        given.append((word, read_image(list_images(DATA / "subjects" / name)[0]).pixels[:, None]))
    for word, pixels in given:
        masks = [masks_or_what_is_wrong(way, pixels, word) for way in ways]
        for mask in masks:
            assert mask is None or mask.shape == (1, *pixels.shape[1:])
            assert (mask is None) == (masks[0] is None)
            assert mask is None or float((mask - masks[0]).abs().mean()) < 1e-3


def masks_or_what_is_wrong(segmenter, pixels, word):
    """A detector of random weights may point at nothing, and that is said of the word."""
    try:
        return segmenter.segment(pixels, [word])
    except ValueError as error:
        assert f"{word!r}" in str(error)
        return None
