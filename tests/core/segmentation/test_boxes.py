"""Geometry: a box survives fitting, widening and the way back; resizing keeps places."""

from __future__ import annotations

import pytest
import torch

from videomage_core.segmentation.boxes import DEVIATION, MEAN, Fitted, normalised, overlap, places, resize, resize_image


@pytest.mark.parametrize("size", [(48, 48), (320, 576), (640, 30), (7, 5), (208, 320), (1, 1)])
@pytest.mark.parametrize(("shorter", "longer"), [(800, 1333), (128, 213)])
def test_boxes_come_back_from_the_detectors_image(size, shorter, longer):
    height, width = size
    share = torch.rand(20, 2, 2, generator=torch.Generator().manual_seed(0)).sort(dim=1).values  # corners in 0..1
    boxes = (share * torch.tensor([width, height])).flatten(1)  # left,top,right,bottom
    _, fitted = resize_image(torch.zeros(3, height, width), shorter, longer, 900)
    given = fitted.from_frame(boxes)
    assert float(given.min()) >= 0 and float((given[:, :2] + given[:, 2:] / 2).max()) <= 1 + 1e-6
    torch.testing.assert_close(fitted.to_frame(given), boxes, atol=1e-3, rtol=1e-4)


def block(height: int, width: int, box: tuple[int, int, int, int]) -> torch.Tensor:
    """A frame [3, H, W], black but for a white block."""
    left, top, right, bottom = box
    frame = torch.full((3, height, width), -1.0)
    frame[:, top:bottom, left:right] = 1
    return frame


def seen_in(image: torch.Tensor, fitted: Fitted) -> torch.Tensor:
    """The box [4] of what is white in the detector's image, as the detector gives boxes."""
    white = image[0] > normalised(torch.zeros(1, 3, 1, 1))[0, 0, 0, 0]
    white[:, fitted.resized[1] :] = white[fitted.resized[0] :] = False
    rows, columns = white.any(1).nonzero().flatten(), white.any(0).nonzero().flatten()
    (left, right), (top, bottom) = ((int(line[0]), int(line[-1]) + 1) for line in (columns, rows))
    h, w = fitted.image
    return torch.tensor([(left + right) / 2 / w, (top + bottom) / 2 / h, (right - left) / w, (bottom - top) / h])


@pytest.mark.parametrize("size", [(48, 48), (208, 320), (640, 30)])
def test_what_is_seen_in_the_image_is_where_the_box_says(size):
    """A white block on black: the block found in the detector's image is the block in the frame."""
    height, width = size
    box = (width // 5, height // 4, width // 2, height // 2)
    image, fitted = resize_image(block(height, width, box), 400, 667, 900)
    pixel = max(height / fitted.resized[0], width / fitted.resized[1])
    found = fitted.to_frame(seen_in(image, fitted))
    torch.testing.assert_close(found, torch.tensor(box).float(), atol=1.01 * max(1, pixel), rtol=0)


@pytest.mark.parametrize("shorter", [64, 400])
@pytest.mark.parametrize("crop", [(0, 0, 60, 48), (20, 10, 60, 48), (7, 3, 50, 40), (25, 0, 45, 48)])
def test_in_a_cropped_clip_boxes_are_moved_by_the_crop_and_cut_off_at_its_edge(crop, shorter):
    left, top, right, bottom = crop
    clip = block(48, 60, (15, 12, 40, 30))[:, None].expand(-1, 3, -1, -1)[:, :, top:bottom, left:right]
    wanted = [max(15 - left, 0), max(12 - top, 0), min(40, right) - left, min(30, bottom) - top]
    for f in range(3):
        image, fitted = resize_image(clip[:, f], shorter, round(shorter * 5 / 3), 900)
        found = fitted.to_frame(seen_in(image, fitted))
        torch.testing.assert_close(found, torch.tensor(wanted).float(), atol=1.01, rtol=0)
        beyond = torch.tensor([0.5, 0.5, 9.0, 9.0])
        assert fitted.to_frame(beyond).tolist() == [0, 0, right - left, bottom - top]


def test_the_image_has_the_wanted_size_where_that_has_room_for_all_queries():
    image, fitted = resize_image(torch.zeros(3, 208, 320), 800, 1333, 900)
    assert image.shape == (3, 800, 1231) and fitted.image == (800, 1231)
    assert resize_image(torch.zeros(3, 30, 640), 800, 1333, 900)[0].shape == (3, 62, 1333)
    assert resize_image(torch.zeros(3, 64, 64), 128, 213, 50)[0].shape == (3, 128, 128)
    assert resize_image(torch.zeros(3, 64, 64), 128, 213, 900)[0].shape == (3, 208, 208)  # 128: 340 places
    assert resize_image(torch.zeros(3, 1, 1000), 800, 1333, 900)[0].shape == (3, 208, 1333)  # widened at the bottom


@pytest.mark.parametrize("size", [(48, 48), (320, 576), (90, 40), (640, 30), (1, 900), (2000, 3000)])
@pytest.mark.parametrize("shorter", [64, 128, 300])
@pytest.mark.parametrize("queries", [50, 900, 1500])
def test_there_is_always_room_for_all_queries_and_no_image_grows_without_need(size, shorter, queries):
    longer = round(shorter * 5 / 3)
    _, fitted = resize_image(torch.zeros(3, *size), shorter, longer, queries)
    assert places(*fitted.image) >= queries
    assert max(fitted.image) <= longer or places(*fitted.image) < 2.5 * queries


def test_boxes_end_at_the_frames_border():
    _, fitted = resize_image(torch.zeros(3, 50, 100), 800, 1333, 900)
    assert fitted.to_frame(torch.tensor([0.5, 0.5, 2.0, 2.0])).tolist() == [0, 0, 100, 50]


def test_normalised_is_imagenets():
    grey = normalised(torch.zeros(1, 3, 2, 2))[0, :, 0, 0]
    wanted = [(0.5 - m) / d for m, d in zip(MEAN, DEVIATION, strict=True)]
    torch.testing.assert_close(grey, torch.tensor(wanted))


def test_resize_keeps_the_mean_where_it_shrinks():
    frames = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resize(frames, 16, 16).mean((2, 3)), frames.mean((2, 3)), atol=0.01, rtol=0)


def test_overlap_is_that_of_areas():
    box = torch.tensor([0.0, 0, 10, 10])
    others = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 5, 5]])
    torch.testing.assert_close(overlap(box, others), torch.tensor([1, 1 / 3, 0, 0.25]))
