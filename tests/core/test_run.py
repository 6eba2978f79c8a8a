"""A run that nobody fills in does nothing; a cancelled one stops."""

from __future__ import annotations

import pytest
import torch

from videomage_core.run import Cancelled, Run


def test_the_default_run_does_nothing():
    run = Run()
    run.progress(1, 2, "sampling")
    run.preview(torch.zeros(3, 1, 2, 2))
    run.log("a line")
    run.check()


def test_a_cancelled_run_stops_at_its_check():
    with pytest.raises(Cancelled, match="stopped by the user"):
        Run(cancelled=lambda: True).check()


def test_somebody_looks_at_previews_or_nobody_does():
    looked = Run(preview=lambda video: None)
    assert looked.previews and not Run().previews
    assert not looked.unseen().previews
