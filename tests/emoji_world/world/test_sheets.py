"""The docs' pictures show every concept and every motion."""

from __future__ import annotations

import numpy as np

from emoji_world.world.motions import PAIR, SINGLE
from emoji_world.world.sheets import FRAME, GAP, PAPER, SIDE, drawings_sheet, motions_sheet
from emoji_world.world.worlds import SMALL


def test_all_drawings_are_on_the_sheet_and_those_held_out_in_a_frame():
    sheet = np.asarray(drawings_sheet(SMALL))
    assert sheet.shape[0] == 6 * (SIDE + GAP)  # twelve concepts in two columns
    assert (sheet == FRAME).all(-1).sum() == 12 * 2 * (SIDE + 2 + SIDE)
    assert 0.1 < (sheet != PAPER).any(-1).mean() < 0.9


def test_each_motion_has_a_row_of_frames():
    sheet = motions_sheet(SMALL, scale=1)
    assert sheet.width > SMALL.frames * 48 and sheet.height > len({*SINGLE, *PAIR}) * 48
