"""Masks from words: the order of things, with stand-ins for the models."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch

from tests.core.data.only_words import OnlyWords
from videomage_core.callbacks import Callbacks, Cancelled
from videomage_core.config import SegmentationConfig
from videomage_core.data import grounded_sam2 as g
from videomage_core.data.grounded_sam2 import GroundedSam2, examined


class Boxes:
    """A tracker whose masks are the boxes, from the frame before the start to the frame ``lost``."""

    def __init__(self, lost: int = 99) -> None:
        self.lost, self.asked = lost, []

    def follow(self, pixels, start, boxes, seen):
        self.asked.append((start, boxes.round().int().tolist()))
        masks = torch.zeros(len(boxes), *pixels.shape[1:], dtype=torch.bool)
        for n, (left, top, right, bottom) in enumerate(boxes.round().int().tolist()):
            for f in range(max(0, start - 1), pixels.shape[1]):
                seen()
                if f < start or start >= self.lost or f < self.lost:
                    masks[n, f, top:bottom, left:right] = True
        return masks


@pytest.fixture
def staged(monkeypatch):
    """A GroundedSam2 over stand-ins; ``staged(shown, ...)`` gives it and its tracker."""
    monkeypatch.setattr(g, "check_detector", lambda *_: None)
    monkeypatch.setattr(g, "check_tracker", lambda *_: None)

    def make(shown, words=("dog", "cat"), lost=99, callbacks=None, **config):
        tracker = Boxes(lost)
        monkeypatch.setattr(g, "load_detector", lambda *_: OnlyWords(shown, words))
        monkeypatch.setattr(g, "load_tracker", lambda *_: tracker)
        settings = SegmentationConfig(**{"detector_image_size": 128, "detection_interval": 4, **config})
        return GroundedSam2(Path("d"), Path("s"), config=settings, callbacks=callbacks or Callbacks()), tracker

    return make


def numbered(frames: int) -> torch.Tensor:
    """A clip of 32x32 pixels whose frame f is f / 100 bright."""
    return (torch.arange(frames) / 100)[None, :, None, None].expand(3, frames, 32, 32).clone()


DOG, CAT = [2.0, 4, 12, 14], [16.0, 10, 30, 30]


def test_masks_come_in_the_order_of_the_words(staged):
    segmenter, tracker = staged({0: {"dog": DOG, "cat": CAT}})
    masks = segmenter.segment(numbered(6), ["cat", "dog"])
    assert masks.shape == (2, 6, 32, 32) and masks.dtype == torch.float32
    assert masks[0, 3, 10:30, 16:30].all() and float(masks[0].sum()) == 6 * 20 * 14
    assert masks[1, 5, 4:14, 2:12].all() and float(masks[1].sum()) == 6 * 100
    assert len(tracker.asked) == 1, "both are followed at once"


def test_who_comes_later_is_followed_from_there(staged):
    segmenter, tracker = staged({0: {"dog": DOG}, 4: {"dog": DOG, "cat": CAT}, 8: {"dog": DOG, "cat": CAT}})
    masks = segmenter.segment(numbered(10), ["dog", "cat"])
    assert [start for start, _ in tracker.asked] == [0, 4]
    shown = masks.flatten(2).any(2)
    assert shown[0].all() and shown[1].tolist() == [False] * 3 + [True] * 7  # the frame before it, found backwards


def test_who_was_lost_is_found_again(staged):
    segmenter, tracker = staged({0: {"dog": DOG}, 8: {"dog": CAT}, 9: {"dog": CAT}}, lost=3)
    masks = segmenter.segment(numbered(10), ["dog"])
    assert [start for start, _ in tracker.asked] == [0, 8]
    assert masks[0].flatten(1).any(1).tolist() == [True] * 3 + [False] * 4 + [True] * 3
    assert masks[0, 9, 20, 20] == 1 and masks[0, 0, 5, 5] == 1


def test_who_comes_in_the_last_frame_is_found(staged):
    segmenter, _ = staged({0: {"dog": DOG}, 9: {"dog": DOG, "cat": CAT}})
    masks = segmenter.segment(numbered(10), ["dog", "cat"])
    assert masks[1].flatten(1).any(1).tolist() == [False] * 8 + [True] * 2


class TwoDogs(OnlyWords):
    """One dog from the first frame on; from frame 4 a second one, which it is surer of."""

    def find(self, image: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
        from videomage_core.segmentation.boxes import DEVIATION, MEAN

        frame = round(float((image[0, 0, 0] * DEVIATION[0] + MEAN[0]) * 2 - 1) * 100)
        scores = torch.tensor([[0.0, 0.6, 0, 0], [0.0, 0.9 if frame >= 4 else 0.0, 0, 0]])
        left, top, right, bottom = (torch.tensor([DOG, CAT]) / 32).T
        return scores, torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=1)


@pytest.mark.parametrize(("words", "boxes"), [(["dog", "dog"], "best"), (["dog"], "all")])
def test_a_second_of_a_kind_that_comes_later_is_not_taken_for_the_first(staged, monkeypatch, words, boxes):
    segmenter, _ = staged({}, words=("dog",), boxes=boxes)
    monkeypatch.setattr(g, "load_detector", lambda *_: TwoDogs({}, ("dog",)))
    masks = segmenter.segment(numbered(10), words)
    first, second = masks[0, 9], masks[-1, 9]
    assert first[4:14, 2:12].all() and second[10:30, 16:30].all()
    assert float(masks.sum(0)[9].max()) == 1 and float(masks[:, 0].sum()) == 100
    if boxes == "best":
        assert float(first.sum()) == 100 and float(second.sum()) == 280, "each has one dog for itself"


def test_the_detector_looks_at_every_nth_frame_or_the_first_alone(staged):
    assert examined(10, 4) == [0, 4, 8, 9] and examined(9, 4) == [0, 4, 8]
    assert examined(1, 8) == [0] and examined(9, 0) == [0]
    segmenter, _ = staged({4: {"dog": DOG}}, detection_interval=0)
    with pytest.raises(ValueError, match="'dog' was not found in the frame looked at"):
        segmenter.segment(numbered(6), ["dog"])


def test_a_word_that_is_nowhere_is_told_with_its_best_score(staged):
    segmenter, tracker = staged({0: {"dog": DOG}}, box_threshold=0.4)
    with pytest.raises(
        ValueError,
        match=r"words: 'cat' was not found in any of 3 frames looked at \(its best score is 0\.05, box_threshold 0\.4, "
        r"text_threshold 0\.25\); lower the thresholds, choose another word, or give a mask",
    ):
        segmenter.segment(numbered(9), ["dog", "cat"])
    assert not tracker.asked, "SAM 2 is not loaded for nothing"


def test_a_mask_of_everything_is_refused(staged):
    segmenter, _ = staged({0: {"dog": [0.0, 0, 32, 32]}})
    with pytest.raises(ValueError, match="mask of 'dog': it covers the whole image"):
        segmenter.segment(numbered(2), ["dog"])


def test_one_model_at_a_time_and_none_left(staged, monkeypatch):
    segmenter, _ = staged({0: {"dog": DOG}})
    detector, tracker = OnlyWords({0: {"dog": DOG}}, ("dog",)), Boxes()
    held = {"detector": weakref.ref(detector), "tracker": weakref.ref(tracker)}
    models = {"detector": detector, "tracker": tracker}
    del detector, tracker

    def load_tracker(*_):
        assert held["detector"]() is None, "the detector is still there when SAM 2 is loaded"
        return models.pop("tracker")

    monkeypatch.setattr(g, "load_detector", lambda *_: models.pop("detector"))
    monkeypatch.setattr(g, "load_tracker", load_tracker)
    segmenter.segment(numbered(3), ["dog"])
    gc.collect()
    assert held["tracker"]() is None


def test_masks_can_be_trained_with_also_from_within_inference(staged):
    segmenter, _ = staged({0: {"dog": DOG}})
    with torch.inference_mode():
        masks = segmenter.segment(numbered(2), ["dog"])
    assert not masks.is_inference()


def test_progress_is_told_and_cancel_is_heard(staged):
    told = []
    callbacks = Callbacks(progress=lambda done, total, what: told.append((done, total, what)))
    staged({0: {"dog": DOG}}, callbacks=callbacks)[0].segment(numbered(9), ["dog"])
    assert told[0] == (1, 3, "finding words") and told[-1] == (9, 9, "following subjects")
    for stop in (0, 1, 5):
        left = iter([False] * stop + [True] * 99)
        with pytest.raises(Cancelled):
            staged({0: {"dog": DOG}}, callbacks=Callbacks(cancelled=lambda left=left: next(left)))[0].segment(
                numbered(9), ["dog"]
            )


def test_parts_tell_one_segmenter_from_another(tmp_path):
    (tmp_path / "sam.pt").write_bytes(b"1234")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "grounding-dino"}')
        (tmp_path / name / "model.safetensors").touch()
        (tmp_path / name / "vocab.txt").touch()
    video = tmp_path / "video"
    video.mkdir()
    (video / "config.json").write_text('{"model_type": "sam2_video"}')
    (video / "model.safetensors").touch()
    one = GroundedSam2(tmp_path / "one", video)
    assert one.key_parts() == GroundedSam2(tmp_path / "one", video).key_parts()
    assert one.key_parts() != GroundedSam2(tmp_path / "two", video).key_parts()
    assert one.key_parts() != one.with_settings(SegmentationConfig(box_threshold=0.5)).key_parts()
    assert one.key_parts() == one.with_callbacks(Callbacks()).key_parts()
    assert not any(str(tmp_path) in str(part) for part in one.key_parts())


def test_parts_tell_checkpoints_of_one_name_and_size_apart(tmp_path):
    """Small files are read whole, large ones in samples; a copy of either is the same."""
    for size in (1000, 9 << 20):
        data = torch.randint(0, 255, (size,), dtype=torch.uint8, generator=torch.Generator().manual_seed(size))
        trained = data + 1
        fingerprints = []
        for at, content in (("a", data), ("b", data), ("c", trained)):
            folder = tmp_path / f"{at}{size}"
            folder.mkdir()
            (folder / "model.safetensors").write_bytes(content.numpy().tobytes())
            fingerprints.append((g._fingerprint(folder / "model.safetensors"), g._fingerprint(folder)))
        assert fingerprints[0] == fingerprints[1]
        assert fingerprints[0][0] != fingerprints[2][0] and fingerprints[0][1] != fingerprints[2][1]
    one = bytearray(1000)
    (tmp_path / "x").write_bytes(one)
    before = g._fingerprint(tmp_path / "x")
    one[567] = 1
    (tmp_path / "x").write_bytes(one)
    assert g._fingerprint(tmp_path / "x") != before


def test_a_sam2_for_images_is_refused_for_a_clip_before_a_word_is_looked_for(
    detector_both_ways, sam2_for_images, monkeypatch
):
    segmenter = GroundedSam2(detector_both_ways[2], sam2_for_images)
    monkeypatch.setattr(g, "load_detector", lambda *_: pytest.fail("the detector is loaded for nothing"))
    with pytest.raises(ValueError, match=r"the model for images \(sam2\), the clip has 5 frames"):
        segmenter.segment(numbered(5), ["dog"])


def test_wrong_files_are_told_before_anything_loads(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"GroundingDINO: .* does not exist; expected groundingdino_swint_ogc"):
        GroundedSam2(tmp_path / "none", tmp_path / "none")
