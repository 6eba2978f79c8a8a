"""SAM 2 both ways: the same masks of the same weights; any length of clip; memory that does not grow."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from videomage_core.segmentation import tracker as t
from videomage_core.segmentation.tracker import Frames, load_tracker

CPU = torch.device("cpu")
PACKAGE = pytest.mark.skipif(
    importlib.util.find_spec("sam2") is None, reason="sam2 is not installed: see requirements.txt"
)
WAYS = [pytest.param(0, marks=PACKAGE, id="package"), pytest.param(1, id="transformers")]


def clip(frames: int, height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.rand(3, frames, height, width, generator=torch.Generator().manual_seed(frames)) * 2 - 1


BOXES = torch.tensor([[4.0, 5, 30, 30], [20, 10, 50, 38]])


def follow(path, pixels, start=0, boxes=BOXES, seen=lambda: None):
    with torch.no_grad():
        return load_tracker(path, CPU).follow(pixels, start, boxes, seen)


@PACKAGE
@pytest.mark.parametrize(("frames", "start"), [(1, 0), (2, 1), (6, 0), (6, 3)])
def test_both_ways_give_the_same(sam2_both_ways, frames, start):
    ours, other = (follow(path, clip(frames), start) for path in sam2_both_ways)
    assert ours.shape == (2, frames, 40, 56) and ours.dtype == torch.bool
    assert 0.01 < float(ours.float().mean()) < 0.95
    assert float((ours != other).float().mean()) < 1e-3  # a pixel on the edge may fall either way


@pytest.mark.parametrize("way", WAYS)
def test_one_look_at_each_frame_and_no_frame_left_out(sam2_both_ways, way):
    calls = []
    masks = follow(sam2_both_ways[way], clip(5), start=2, seen=lambda: calls.append(1))
    assert masks.flatten(2).any(2).all() and 5 <= len(calls) <= 6


@pytest.mark.parametrize("way", WAYS)
def test_a_subject_alone_and_among_others_has_the_same_mask(sam2_both_ways, way):
    both = follow(sam2_both_ways[way], clip(4))
    assert torch.equal(both[:1], follow(sam2_both_ways[way], clip(4), boxes=BOXES[:1]))


@pytest.mark.parametrize("way", WAYS)
def test_dropping_what_is_old_changes_nothing_and_bounds_the_memory(sam2_both_ways, way, monkeypatch):
    """A state that keeps everything gives the same masks of a clip longer than what is kept."""
    most = []
    forget = t._forget

    def watched(outputs, frame, backwards):
        forget(outputs, frame, backwards)
        most.append(len(outputs))

    monkeypatch.setattr(t, "_forget", watched)
    short = follow(sam2_both_ways[way], clip(30), boxes=BOXES[:1])
    assert max(most) <= t._KEPT + 1 < 30
    monkeypatch.setattr(t, "_forget", lambda *_: None)
    assert torch.equal(short, follow(sam2_both_ways[way], clip(30), boxes=BOXES[:1]))


@pytest.mark.parametrize("way", WAYS)
def test_whoever_watches_can_stop_it(sam2_both_ways, way):
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        follow(sam2_both_ways[way], clip(3), seen=stop)


def test_frames_are_made_when_they_are_asked_for():
    frames = Frames(clip(7), 32)
    assert len(frames) == 7 and frames[6].shape == (3, 32, 32)
    torch.testing.assert_close(frames[2], Frames(clip(7)[:, 2:3], 32)[0])


def test_a_model_for_images_takes_images_alone(sam2_both_ways, sam2_for_images):
    one = follow(sam2_for_images, clip(1))
    assert torch.equal(one, follow(sam2_both_ways[1], clip(1)))
    with pytest.raises(ValueError, match=r"the model for images \(sam2\), the clip has 2 frames; take .* sam2_video"):
        follow(sam2_for_images, clip(2))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    path.touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="needs the package rf-sam-2, which is not installed: pip install -r"):
        t.check_tracker(path)


@pytest.mark.parametrize("old", ["4.50.3", "4.56.2"])
def test_a_transformers_without_a_good_sam2_is_told_before_anything_loads(sam2_both_ways, monkeypatch, old):
    for good in ("4.57.0", "5.0.0rc1", "5.24.0"):
        monkeypatch.setattr(t, "version", lambda _, good=good: good)
        t.check_tracker(sam2_both_ways[1])
    monkeypatch.setattr(t, "version", lambda _: old)
    with pytest.raises(
        ImportError, match=f"SAM 2: a folder of it needs transformers 4.57 or newer, here is {old}; a file"
    ):
        t.check_tracker(sam2_both_ways[1])


def test_a_model_for_images_is_refused_for_a_clip_before_anything_loads(sam2_both_ways, sam2_for_images):
    t.check_tracker(sam2_for_images)
    t.check_tracker(sam2_both_ways[1], 24)
    with pytest.raises(ValueError, match="the clip has 24 frames"):
        t.check_tracker(sam2_for_images, 24)


@PACKAGE
def test_the_package_looks_at_the_clips_frames_alone_once_each(sam2_both_ways, monkeypatch):
    """Not at the stand-in from which its state is made."""
    tracker = load_tracker(sam2_both_ways[0], CPU)
    calls, usual = [], tracker.model.forward_image
    monkeypatch.setattr(tracker.model, "forward_image", lambda image: (calls.append(1), usual(image))[1])
    with torch.no_grad():
        tracker.follow(clip(4), 0, BOXES, lambda: None)
    assert len(calls) == 4 and "_get_image_feature" not in vars(tracker.model)


@pytest.mark.parametrize("way", WAYS)
def test_masks_are_those_of_the_other_line_of_transformers(sam2_both_ways, way):
    """``numbers.json`` was written with transformers 4.57."""
    import json
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))
    from numbers_of_both_lines import FILE, of_tracker

    wanted = json.loads(FILE.read_text())["tracker"]
    got = of_tracker(load_tracker(sam2_both_ways[way], CPU))
    torch.testing.assert_close(torch.tensor(got), torch.tensor(wanted), atol=2e-3, rtol=0)
