"""Geometry: a box survives fitting, widening and the way back; resizing keeps places."""

from __future__ import annotations

import pytest
import torch

from videomage_core.segmentation.boxes import DEVIATION, MEAN, fit, normalised, overlap, resize


@pytest.mark.parametrize("size", [(48, 48), (320, 576), (640, 30), (7, 5), (208, 320), (1, 1)])
@pytest.mark.parametrize(("shorter", "longer"), [(800, 1333), (128, 213)])
def test_boxes_come_back_from_the_detectors_picture(size, shorter, longer):
    height, width = size
    share = torch.rand(20, 2, 2, generator=torch.Generator().manual_seed(0)).sort(dim=1).values  # corners in 0..1
    boxes = (share * torch.tensor([width, height])).flatten(1)  # left,top,right,bottom
    _, fitted = fit(torch.zeros(3, height, width), shorter, longer)
    given = fitted.from_frame(boxes)
    assert float(given.min()) >= 0 and float((given[:, :2] + given[:, 2:] / 2).max()) <= 1 + 1e-6
    torch.testing.assert_close(fitted.to_frame(given), boxes, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("size", [(48, 48), (208, 320), (640, 30)])
def test_what_is_seen_in_the_picture_is_where_the_box_says(size):
    """A white block on black: the block found in the detector's picture is the block in the frame."""
    height, width = size
    top, left, bottom, right = height // 4, width // 5, height // 2, width // 2
    frame = torch.full((3, height, width), -1.0)
    frame[:, top:bottom, left:right] = 1
    picture, fitted = fit(frame, 400, 667)
    white = picture[0] > normalised(torch.zeros(1, 3, 1, 1))[0, 0, 0, 0]
    white[:, fitted.resized[1] :] = white[fitted.resized[0] :] = False
    rows, columns = white.any(1).nonzero().flatten(), white.any(0).nonzero().flatten()
    seen = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
    h, w = fitted.picture
    box = torch.stack([(seen[0] + seen[2]) / 2 / w, (seen[1] + seen[3]) / 2 / h,
                       (seen[2] - seen[0]) / w, (seen[3] - seen[1]) / h])  # fmt: skip
    pixel = max(height / fitted.resized[0], width / fitted.resized[1])
    torch.testing.assert_close(
        fitted.to_frame(box), torch.tensor([left, top, right, bottom]).float(), atol=1.01 * max(1, pixel), rtol=0
    )


def test_the_picture_has_the_wanted_size_and_room_for_all_queries():
    picture, fitted = fit(torch.zeros(3, 208, 320), 800, 1333)
    assert picture.shape == (3, 800, 1231) and fitted.picture == (800, 1231)
    assert fit(torch.zeros(3, 30, 640), 800, 1333)[0].shape == (3, 160, 1333)  # widened at the bottom
    assert fit(torch.zeros(3, 64, 64), 128, 213)[0].shape == (3, 128, 128)


def test_boxes_end_at_the_frames_border():
    _, fitted = fit(torch.zeros(3, 50, 100), 800, 1333)
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
