"""Laws of ``videomage_core/data/contact_sheet.py``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from videomage_core.data.contact_sheet import GAP, MARGIN, PAPER, contact_sheet


def plain(level: float, frames: int = 4, height: int = 10, width: int = 10) -> torch.Tensor:
    """A video [3, F, H, W] of one brightness."""
    return torch.full((3, frames, height, width), level)


def test_every_frame_is_on_the_sheet() -> None:
    colours = torch.linspace(-1, 1, 6).view(1, 6, 1, 1).expand(3, 6, 10, 12)
    sheet = np.array(contact_sheet([colours], [""], scale=2))
    row = sheet[-MARGIN - 10, MARGIN:-MARGIN, 0]
    assert len(row) == 6 * 24 + 5 * GAP
    assert [row[index * (24 + GAP) + 5] for index in range(6)] == [0, 51, 102, 153, 204, 255]


def test_labels_are_written_above_their_rows() -> None:
    blank, written = (np.array(contact_sheet([plain(0, 20)] * 2, labels)) for labels in (["", ""], ["", "dog"]))
    assert blank.shape == written.shape
    changed = np.argwhere((blank != written).any(axis=2))
    assert len(changed) > 20
    assert changed[:, 0].min() > len(blank) // 2 - MARGIN
    assert changed[:, 0].max() < len(blank) - MARGIN - 10


def test_rows_may_differ_and_long_labels_stay_on_the_sheet() -> None:
    label = "an octopus is walking towards a chick on a beach while nobody looks"
    sheet = np.array(contact_sheet([plain(-1, 8), plain(1, 2, 24, 6)], [label, "x"]))
    short = np.array(contact_sheet([plain(-1, 8), plain(1, 2, 24, 6)], ["x", "x"]))
    assert len(sheet) > len(short), "broken into lines"
    assert (sheet[:, -MARGIN:] == PAPER).all(), "nothing runs over the edge"


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ValueError, match="labels: got 1 for 2 rows"):
        contact_sheet([plain(0), plain(0)], ["one"])
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([], [])
    with pytest.raises(ValueError, match="scale: got 0"):
        contact_sheet([plain(0)], [""], scale=0)
