"""A run that nobody fills in does nothing; a cancelled one stops."""

from __future__ import annotations

import pytest
import torch

from videomage_core.callbacks import Callbacks, Cancelled


def test_the_default_run_does_nothing():
    callbacks = Callbacks()
    callbacks.progress(1, 2, "sampling")
    callbacks.preview(torch.zeros(3, 1, 2, 2))
    callbacks.log("a line")
    callbacks.check()


def test_a_cancelled_run_stops_at_its_check():
    with pytest.raises(Cancelled, match="stopped by the user"):
        Callbacks(cancelled=lambda: True).check()


def test_somebody_looks_at_previews_or_nobody_does():
    looked = Callbacks(preview=lambda video: None)
    assert looked.previews and not Callbacks().previews
    assert not looked.without_preview().previews
